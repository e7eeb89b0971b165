"""The cascade of U-Nets, coarse to fine, with a head to inject the error at each level."""

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rcm_cascade.models.registry import Arguments, LevelGeometry, Network, pad_to_multiple, register
from rcm_cascade.models.unet import UNet, unet_reach

Prior = Literal["softmax", "logits"]
"""What a level hands to the next."""

DEEPEST: Final = 16
"""Most levels, and most poolings of one: more would halve the largest mosaic to less than a pixel."""


@dataclass(frozen=True, kw_only=True)
class LevelArguments(Arguments):
    """U-Nets at several resolutions, each twice as fine as the one before.

    Args:
        levels: number of U-Nets L, ≥ 1.
        base_depth: poolings of the coarsest U-Net.
        depth_increment: poolings that each finer level adds; negative ones are allowed.
    """

    levels: int = 3
    base_depth: int = 2
    depth_increment: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels > DEEPEST or not 1 <= min(self.depths) <= max(self.depths) <= DEEPEST:
            raise ValueError(
                f"levels {self.levels}, base_depth {self.base_depth} and depth_increment {self.depth_increment} do not "
                f"make a network: every level needs a depth of 1 or more, and beyond {DEEPEST} levels or a depth of "
                f"{DEEPEST} it is deeper than any mosaic"
            )

    @property
    def depths(self) -> tuple[int, ...]:
        """Poolings at each level, coarse to fine: ``base_depth + (i - 1) * depth_increment``."""
        return tuple(self.base_depth + i * self.depth_increment for i in range(self.levels))

    @property
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """See `Arguments.geometry`."""
        return tuple(
            LevelGeometry(2 ** (self.levels - 1 - i), depth, unet_reach(depth)) for i, depth in enumerate(self.depths)
        )


@register
@dataclass(frozen=True, kw_only=True)
class CascadeArguments(LevelArguments):
    """The arguments of a `CascadedUNet`.

    Args:
        prior: what goes into the next level, ``"softmax"`` probabilities or ``"logits"``.
        detach_prior: if true, no gradient flows from a level into the coarser ones.
    """

    design = "cascade"
    prior: Prior = "softmax"
    detach_prior: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior not in get_args(Prior):
            raise ValueError(f"prior is {self.prior!r}; expected one of {', '.join(get_args(Prior))}")

    @property
    def prior_channels(self) -> int:
        """See `Arguments.prior_channels`."""
        return self.num_classes

    def build(self) -> "CascadedUNet":
        """See `Arguments.build`."""
        return CascadedUNet(self)


class CascadedUNet(Network):
    """U-Nets from coarse to fine; each level sees the image beside the coarser level's up-sampled prediction.

    Kose et al. 2018, Figure 1. Level ``i`` of ``L`` sees the image area-averaged by ``2 ** (L - i)``. Its logits go
    out, for the loss that is injected there, and, as the *prior*, up-sampled into the next level. The one-level
    cascade is the plain `UNet`.

    The paper does not say whether the prior is logits or probabilities, nor how many filters there are; ``softmax`` and
    24 (54 convolutions and 5.7 M parameters, as the paper reports) are our choice.

    Args:
        arguments: of the network; None: made of the keywords, as in ``CascadedUNet(num_classes=3, levels=2)``.
        keywords: of `CascadeArguments`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, arguments: LevelArguments | None = None, **keywords: Any) -> None:  # noqa: ANN401  # several types
        given = arguments or CascadeArguments(**keywords)
        channels = [given.in_channels + (given.prior_channels if i else 0) for i in range(given.levels)]
        shapes = zip(channels, given.depths, strict=True)
        super().__init__(given, [UNet(read, given.num_classes, given.base_filters, depth) for read, depth in shapes])

    def as_prior(self, logits: Tensor) -> Tensor:
        """See `Network.as_prior`: probabilities or logits."""
        given = self.arguments
        if not isinstance(given, CascadeArguments):
            return super().as_prior(logits)
        prior = logits if given.prior == "logits" else logits.softmax(dim=1)
        return prior.detach() if given.detach_prior else prior

    def level_input(self, image: Tensor, prior: Tensor | None) -> Tensor:
        """See `Network.level_input`: the image beside the up-sampled prior, where there is one."""
        return (
            image if prior is None or not self.arguments.prior_channels else torch.cat([image, upsample(prior)], dim=1)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of every level, coarse to fine.

        Args:
            image: ``(B, in_channels, H, W)``, any H and W ≥ 1, normalised. Padded once, at full resolution, at the
                bottom and right, by replication, to a multiple of `alignment`.

        Returns:
            A list of L tensors ``(B, C, ceil(H / 2 ** (L - i)), ceil(W / 2 ** (L - i)))``.
        """
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.alignment)
        outputs: list[Tensor] = []
        for level, geometry in zip(self.levels, self.geometry, strict=True):
            prior = self.as_prior(outputs[-1]) if outputs and self.arguments.prior_channels else None
            outputs.append(level(self.level_input(area_average(padded, geometry.factor), prior)))
        return [
            logits[..., : -(-height // geometry.factor), : -(-width // geometry.factor)]
            for logits, geometry in zip(outputs, self.geometry, strict=True)
        ]


def area_average(image: Tensor, factor: int) -> Tensor:
    """Means of ``factor × factor`` blocks of ``(B, C, H, W)``; H and W are multiples of ``factor``."""
    return F.avg_pool2d(image, factor) if factor > 1 else image


def upsample(prior: Tensor) -> Tensor:
    """Doubles height and width of ``(B, C, h, w)`` bilinearly, ``align_corners=False``."""
    return F.interpolate(prior, scale_factor=2, mode="bilinear", align_corners=False)
