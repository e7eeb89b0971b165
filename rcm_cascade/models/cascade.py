"""The cascade of U-Nets, coarse to fine, with a head to inject the error at each level."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcm_cascade.models.unet import UNet, strided_reach, unet_reach

Prior = Literal["softmax", "logits", "none"]
"""What a level hands to the next; ``none``: nothing, so the levels are an ensemble of independent networks."""

LevelNetwork = Literal["unet", "dynunet"]
"""What stands at a level: our U-Net, or MONAI's DynUNet (as a peer, one level only)."""

DEEPEST: Final = 16
"""Most levels, and most poolings of one: more would halve the largest mosaic to less than a pixel."""

SUPERVISED: Final = 3
"""Outputs of a DynUNet that a loss is injected at, as nnU-Net does in a network of depth 4: at 1/4, 1/2 and 1."""


@dataclass(frozen=True)
class LevelGeometry:
    """What tiling must know of one level.

    Args:
        factor: down-sampling of the mosaic at this level, ``2 ** (L - i)``.
        depth: poolings of the level's U-Net.
        reach: one-sided reach of the level's U-Net for aligned starts, in px of the level.
    """

    factor: int
    depth: int
    reach: int

    @property
    def alignment(self) -> int:
        """Tiles start on multiples of this many px of the level."""
        return int(2**self.depth)

    @property
    def halo(self) -> int:
        """The reach, rounded up to the alignment: 24, 48, 96 px for depths 2, 3, 4."""
        return -(-self.reach // self.alignment) * self.alignment


@dataclass(frozen=True)
class CascadeArguments:
    """The arguments of a `CascadedUNet`, as a checkpoint holds them. See there."""

    num_classes: int = 6
    in_channels: int = 1
    levels: int = 3
    base_depth: int = 2
    depth_increment: int = 1
    base_filters: int = 24
    prior: Prior = "softmax"
    detach_prior: bool = False
    network: LevelNetwork = "unet"

    def __post_init__(self) -> None:
        for name in ("num_classes", "in_channels", "levels", "base_filters"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        for name, value, allowed in (("prior", self.prior, Prior), ("network", self.network, LevelNetwork)):
            if value not in get_args(allowed):
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(get_args(allowed))}")
        if self.levels > DEEPEST or max(self.depths) > DEEPEST:
            raise ValueError(
                f"levels {self.levels}, base_depth {self.base_depth} and depth_increment {self.depth_increment} make a "
                f"network deeper than any mosaic; expected up to {DEEPEST} levels, each of a depth up to {DEEPEST}"
            )
        if min(self.depths) < 1:
            raise ValueError(
                f"base_depth {self.base_depth} and depth_increment {self.depth_increment} give depths {self.depths}; "
                "every level needs a depth of 1 or more"
            )
        if self.network == "dynunet" and (self.levels > 1 or self.base_depth < 2):
            raise ValueError(
                f"network is 'dynunet' with {self.levels} levels of base_depth {self.base_depth}; it is a peer of one "
                "level, with a depth of 2 or more"
            )

    @property
    def depths(self) -> tuple[int, ...]:
        """Poolings at each level, coarse to fine: ``base_depth + (i - 1) * depth_increment``."""
        return tuple(self.base_depth + i * self.depth_increment for i in range(self.levels))

    @property
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """Factor, depth and reach of each level, coarse to fine."""
        reach = unet_reach if self.network == "unet" else strided_reach
        return tuple(
            LevelGeometry(2 ** (self.levels - 1 - i), depth, reach(depth)) for i, depth in enumerate(self.depths)
        )

    @property
    def output_factors(self) -> tuple[int, ...]:
        """Down-sampling of each output that a loss is injected at in training, coarse to fine."""
        if self.network == "dynunet":
            return tuple(2**k for k in reversed(range(min(SUPERVISED, self.base_depth))))
        return tuple(g.factor for g in self.geometry)

    @property
    def independent(self) -> bool:
        """Whether no level sees another's prediction: an ensemble, whose probabilities are averaged."""
        return self.prior == "none"

    @property
    def alignment(self) -> int:
        """``A = max_i 2 ** (L - i + depth_i)``: images are padded to a multiple of so many px. Paper's form: 16."""
        return max(g.factor * g.alignment for g in self.geometry)

    def to_plain(self) -> dict[str, Any]:
        """A plain dictionary, for checkpoints and configs."""
        return asdict(self)


class CascadedUNet(nn.Module):
    """U-Nets from coarse to fine; each level sees the image beside the coarser level's up-sampled prediction.

    Kose et al. 2018, Figure 1. Level ``i`` of ``L`` sees the image area-averaged by ``2 ** (L - i)``. Its logits go
    out, for the loss that is injected there, and, as the *prior*, up-sampled into the next level. The one-level
    cascade is the plain `UNet`.

    The paper does not say whether the prior is logits or probabilities, nor how many filters there are; ``softmax`` and
    24 (54 convolutions and 5.7 M parameters, as the paper reports) are our choice.

    Args:
        num_classes: number of classes C.
        in_channels: channels of the image.
        levels: number of U-Nets L, ≥ 1.
        base_depth: poolings of the coarsest U-Net.
        depth_increment: poolings that each finer level adds; negative ones are allowed.
        base_filters: filters of each U-Net's first block.
        prior: what goes into the next level, ``"softmax"`` probabilities or ``"logits"``; ``"none"``: nothing, and the
            final map is made of the levels' averaged probabilities.
        detach_prior: if true, no gradient flows from a level into the coarser ones.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        num_classes: int = 6,
        in_channels: int = 1,
        levels: int = 3,
        base_depth: int = 2,
        depth_increment: int = 1,
        base_filters: int = 24,
        prior: Prior = "softmax",
        detach_prior: bool = False,
    ) -> None:
        super().__init__()
        self.arguments = CascadeArguments(
            num_classes, in_channels, levels, base_depth, depth_increment, base_filters, prior, detach_prior
        )
        from_prior = 0 if self.arguments.independent else num_classes
        self.levels = nn.ModuleList(
            UNet(in_channels + (from_prior if i else 0), num_classes, base_filters, depth)
            for i, depth in enumerate(self.arguments.depths)
        )

    @property
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """Factor, depth and reach of each level, coarse to fine."""
        return self.arguments.geometry

    @property
    def alignment(self) -> int:
        """Full-resolution images are padded to a multiple of this many px."""
        return self.arguments.alignment

    def as_prior(self, logits: Tensor) -> Tensor:
        """What of a level's logits ``(B, C, h, w)`` goes, once up-sampled, to the next: probabilities or logits."""
        prior = logits if self.arguments.prior == "logits" else logits.softmax(dim=1)
        return prior.detach() if self.arguments.detach_prior else prior

    def level_input(self, image: Tensor, prior: Tensor | None) -> Tensor:
        """The image beside the up-sampled prior.

        Args:
            image: ``(B, in_channels, h, w)`` at this level's resolution.
            prior: `as_prior` of the coarser level, ``(B, C, h / 2, w / 2)``; None at the coarsest level.
        """
        if prior is None:
            return image
        return torch.cat([image, upsample(prior)], dim=1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of every level, coarse to fine.

        Args:
            image: ``(B, in_channels, H, W)``, any H and W ≥ 1, normalised. Padded once, at full resolution, at the
                bottom and right, by replication, to a multiple of `alignment`.

        Returns:
            A list of L tensors ``(B, C, ceil(H / 2 ** (L - i)), ceil(W / 2 ** (L - i)))``.
        """
        height, width = image.shape[-2:]
        outputs = self._padded(pad_to_multiple(image, self.alignment))
        return [
            logits[..., : -(-height // geometry.factor), : -(-width // geometry.factor)]
            for logits, geometry in zip(outputs, self.geometry, strict=True)
        ]

    def predict(self, image: Tensor) -> Tensor:
        """Logits of the final map, ``(B, C, H, W)``, as `final` makes them; ``image`` as for `forward`."""
        outputs = self._padded(pad_to_multiple(image, self.alignment))
        return self.final(outputs)[..., : image.shape[-2], : image.shape[-1]]

    def final(self, outputs: Sequence[Tensor]) -> Tensor:
        """Logits of the final map: the finest level's; of independent levels, the log of their mean probabilities.

        Args:
            outputs: of `forward`, for an image whose height and width are multiples of `alignment`.
        """
        if not self.arguments.independent:
            return outputs[-1]
        total = self.as_prior(outputs[0])
        for logits in outputs[1:]:
            total = self.as_prior(logits) + upsample(total)
        return log_mean(total, len(outputs))

    def _padded(self, padded: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        prior: Tensor | None = None
        for level, geometry in zip(self.levels, self.geometry, strict=True):
            outputs.append(level(self.level_input(area_average(padded, geometry.factor), prior)))
            prior = None if self.arguments.independent else self.as_prior(outputs[-1])
        return outputs


def log_mean(total: Tensor, count: int) -> Tensor:
    """Logits of probabilities of which ``total`` is the sum of ``count``."""
    return (total / count).clamp(min=torch.finfo(total.dtype).tiny).log()


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Replicates the last row and column of ``(B, C, H, W)`` until H and W are multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if bottom or right else image


def area_average(image: Tensor, factor: int) -> Tensor:
    """Means of ``factor × factor`` blocks of ``(B, C, H, W)``; H and W are multiples of ``factor``."""
    return F.avg_pool2d(image, factor) if factor > 1 else image


def upsample(prior: Tensor) -> Tensor:
    """Doubles height and width of ``(B, C, h, w)`` bilinearly, ``align_corners=False``."""
    return F.interpolate(prior, scale_factor=2, mode="bilinear", align_corners=False)
