"""Error injection: the target of every level, and the loss there, over labelled pixels only.

A term of the loss is a function here and its weight.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.models import Arguments

LevelWeights = Literal["equal", "coarse", "fine", "last"]
ClassWeights = Literal["none", "inverse_frequency"]
Weight = Annotated[float, Field(ge=0)]


def pool_labels(labels: Tensor, factor: int, num_classes: int) -> Tensor:
    """Majority among the labelled pixels of each ``factor × factor`` block.

    Ties go to the class that comes first in scan order (row by row). A block without a labelled pixel is unlabelled; so
    is the part of a block beyond the border.

    Args:
        labels: ``(B, H, W)`` uint8, at full resolution.
        factor: side of a block, in px.
        num_classes: C.

    Returns:
        ``(B, ceil(H / factor), ceil(W / factor))`` uint8.
    """
    if factor == 1:
        return labels
    height, width = labels.shape[-2:]
    padded = F.pad(labels, (0, -width % factor, 0, -height % factor), value=UNLABELLED)
    b, h, w = padded.shape[0], padded.shape[1] // factor, padded.shape[2] // factor
    blocks = padded.view(b, h, factor, w, factor).permute(2, 4, 0, 1, 3).reshape(factor**2, b, h, w)
    pixels = factor**2
    # A class's rank is its votes, then how early its first vote comes; both fit one int32: votes * pixels + earliness.
    earliness = torch.arange(pixels - 1, -1, -1, dtype=torch.int32, device=labels.device).view(-1, 1, 1, 1)
    best = torch.zeros(b, h, w, dtype=torch.int32, device=labels.device)
    result = torch.full((b, h, w), UNLABELLED, dtype=torch.uint8, device=labels.device)
    for c in range(num_classes):
        votes = blocks == c
        rank = votes.sum(dim=0, dtype=torch.int32) * pixels + (votes * earliness).amax(dim=0)
        better = rank > best
        best = torch.where(better, rank, best)
        result = torch.where(better, c, result)
    return result.to(torch.uint8)


def label_pyramid(labels: Tensor, factors: tuple[int, ...], num_classes: int) -> list[Tensor]:
    """The target of every level, each pooled directly from full resolution.

    Pooling a pooled map again would let a minority win (3 of 16 pixels can fill a block of 4 that then outvotes).

    Args:
        labels: ``(B, H, W)`` uint8, 255 = unlabelled.
        factors: down-sampling of each level, coarse to fine: 4, 2, 1 in the paper's form.
        num_classes: C.

    Returns:
        One ``(B, ceil(H / f), ceil(W / f))`` uint8 a level, coarse to fine.
    """
    return [pool_labels(labels, factor, num_classes) for factor in factors]


Sum = Callable[[Tensor], Tensor]
"""What turns a batch's sums into those of all processes' batches: `rcm_cascade.training.ranks.all_reduce`."""


def alone(sums: Tensor) -> Tensor:
    """The sum over this process only."""
    return sums


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, across: Sum = alone) -> Tensor:
    """Mean cross-entropy over labelled pixels; 0, with a gradient of 0, where none is labelled.

    Args:
        logits: ``(B, C, H, W)``.
        target: ``(B, H, W)`` uint8, 255 = unlabelled.
        class_weights: ``(C,)``; the mean is then weighted, as in `torch.nn.functional.cross_entropy`.
        across: sums over processes; by default there is this one only.

    Returns:
        A scalar, float32.
    """
    wanted = target.long()
    total = F.cross_entropy(logits.float(), wanted, weight=class_weights, ignore_index=UNLABELLED, reduction="sum")
    if class_weights is None:
        weight, least = (target != UNLABELLED).sum().to(total.dtype), 1.0
    else:
        weights = F.pad(class_weights, (0, UNLABELLED + 1 - len(class_weights)))  # 0 for unlabelled
        weight, least = weights[wanted].sum(), torch.finfo(torch.float32).tiny
    sums = across(torch.stack([total, weight]))
    return sums[0] / sums[1].clamp(min=least)


def soft_dice(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, across: Sum = alone) -> Tensor:
    """1 - mean soft Dice over the classes that the batch's labels hold, over labelled pixels only.

    Sums run over the whole batch, class by class: ``2 Σ p t / (Σ p + Σ t)`` (Milletari et al. 2016, with the plain
    rather than the squared denominator, as nnU-Net's). Classes that no label names are left out, since their Dice is 0
    whatever is predicted.

    Args:
        logits: ``(B, C, H, W)``.
        target: ``(B, H, W)`` uint8, 255 = unlabelled.
        class_weights: not used.
        across: as in `cross_entropy`.

    Returns:
        A scalar, float32, in [0, 1]; 0, with a gradient of 0, where nothing is labelled.
    """
    labelled = (target != UNLABELLED).unsqueeze(1)
    probability = logits.float().softmax(dim=1) * labelled
    classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    truth = (target.unsqueeze(1) == classes).float()
    axes = (0, 2, 3)
    sums = torch.stack([(probability * truth).sum(axes), probability.sum(axes), truth.sum(axes)])
    overlap, predicted, true = across(sums)
    present = true > 0
    of_class = 2 * overlap / (predicted + true).clamp(min=1)  # a class that is present has at least one pixel
    loss: Tensor = ((1 - of_class) * present).sum() / present.sum().clamp(min=1)
    return loss


Term = Callable[[Tensor, Tensor, Tensor | None, Sum], Tensor]
"""A term of the loss at one level: of logits, target, class weights and the sum over processes."""

TERMS: Final[dict[str, Term]] = {"cross_entropy": cross_entropy, "dice": soft_dice}
"""The terms by name; `LossArguments` has a weight of the same name for each."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LossArguments:
    """Which loss is injected, and where. All of it is our choice: the paper does not name its loss.

    Args:
        level_weights: of the levels, coarse to fine: ``equal`` (1, 1, 1), ``coarse`` (4, 2, 1), ``fine`` (1, 2, 4),
            ``last`` (0, 0, 1: no injection), or a list; normalised to sum 1.
        cross_entropy: weight of the cross-entropy; 0 switches it off.
        dice: weight of the soft Dice loss; 0 switches it off.
        class_weights: of the cross-entropy: ``none``, or ``inverse_frequency`` in the training label maps.

    Every entry of `TERMS` has its weight here.

    Raises:
        ValueError: if all are 0.
    """

    level_weights: LevelWeights | tuple[float, ...] = "equal"
    cross_entropy: Weight = 1.0
    dice: Weight = 1.0
    class_weights: ClassWeights = "none"

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in TERMS):
            raise ValueError(f"{', '.join(TERMS)} are 0; one of them must be more than 0")

    def of_levels(self, levels: int) -> tuple[float, ...]:
        """The weight of each level, coarse to fine, summing to 1.

        Raises:
            ValueError: if a list has another length than ``levels``, a negative weight, or only zeros.
        """
        named = {
            "equal": [1.0] * levels,
            "coarse": [2.0**i for i in reversed(range(levels))],
            "fine": [2.0**i for i in range(levels)],
            "last": [0.0] * (levels - 1) + [1.0],
        }
        raw = named[self.level_weights] if isinstance(self.level_weights, str) else self.level_weights
        if len(raw) != levels or min(raw) < 0 or sum(raw) == 0:
            raise ValueError(
                f"level_weights is {list(raw)}; expected {levels} weights (one a level, coarse to fine), none "
                "negative, not all 0"
            )
        return tuple(w / sum(raw) for w in raw)

    def of_network(self, network: Arguments) -> tuple[float, ...]:
        """The weight of each of a network's outputs, coarse to fine; 1 for each level that is trained apart.

        Raises:
            ValueError: as `of_levels`, or if levels that are trained apart are weighted.
        """
        weights = self.of_levels(len(network.output_factors))
        if not network.trained_apart:
            return weights
        if len(set(weights)) > 1:
            raise ValueError(
                f"loss.level_weights is {self.level_weights!r}, and the levels of an {network.design} are trained "
                "apart, each with its whole loss; leave it at equal"
            )
        return (1.0,) * len(weights)


def level_loss(
    logits: Tensor, target: Tensor, arguments: LossArguments, class_weights: Tensor | None = None, across: Sum = alone
) -> Tensor:
    """The loss that is injected at one level: the weighted sum of `TERMS`."""
    weights = {name: weight for name in TERMS if (weight := getattr(arguments, name))}
    terms = [weight * TERMS[name](logits, target, class_weights, across) for name, weight in weights.items()]
    return torch.stack(terms).sum()


def inverse_frequency(pixels: Sequence[int]) -> Tensor:
    """Class weights ``N / (C' · n_c)``, C' the classes present; 0 for a class without pixels.

    Args:
        pixels: labelled pixels of each class.

    Returns:
        ``(C,)`` float32; the mean over labelled pixels is 1.
    """
    counts = torch.tensor(pixels, dtype=torch.float64)
    present = counts > 0
    weights = counts.sum() / (present.sum().clamp(min=1) * counts.clamp(min=1))
    return torch.where(present, weights, 0.0).float()
