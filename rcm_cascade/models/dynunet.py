"""MONAI's DynUNet, nnU-Net's network, as the peer that a user would take; extra ``[bench]``."""

import importlib.util
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from rcm_cascade.errors import InputError
from rcm_cascade.models.cascade import DEEPEST
from rcm_cascade.models.registry import Arguments, LevelGeometry, Network, pad_to_multiple, register
from rcm_cascade.models.unet import unet_reach

MAX_FILTERS: Final = 512
"""nnU-Net's limit for two-dimensional networks."""

SUPERVISED: Final = 3
"""Outputs that a loss is injected at, as nnU-Net does in a network of depth 4: at 1/4, 1/2 and 1."""


@register
@dataclass(frozen=True, kw_only=True)
class DynUNetArguments(Arguments):
    """The arguments of a `DynUNetPeer`.

    Args:
        base_depth: convolutions of stride 2 on the way down, 2 or more.
    """

    design = "dynunet"
    default_level_weights = "fine"
    base_depth: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.base_depth <= DEEPEST:
            raise ValueError(f"base_depth {self.base_depth} is not that of a DynUNet; expected 2 to {DEEPEST}")
        super().__post_init__()

    @property
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """See `Arguments.geometry`: of the only level."""
        return (LevelGeometry(1, self.base_depth, unet_reach(self.base_depth, strided=True)),)

    @property
    def output_factors(self) -> tuple[int, ...]:
        """See `Arguments.output_factors`."""
        return tuple(2**k for k in reversed(range(min(SUPERVISED, self.base_depth))))

    def build(self) -> "DynUNetPeer":
        """See `Arguments.build`."""
        return DynUNetPeer(self)


class DynUNetPeer(Network):
    """One DynUNet at full resolution.

    As nnU-Net configures it (Isensee et al. 2021): 3×3 convolutions, stride 2 on the way down, leaky ReLU, a transposed
    convolution on the way up, deep supervision. Batch norm stands in for instance norm, whose statistics over a tile
    are not those over the whole, so that annotation in strips stays exact.

    Args:
        arguments: of the network.

    Raises:
        InputError: if MONAI is not installed.
    """

    def __init__(self, arguments: DynUNetArguments) -> None:
        if importlib.util.find_spec("monai") is None:
            raise InputError("model=dynunet is MONAI's, which is not installed: pip install 'rcm-cascade[bench]'")
        from monai.networks.nets.dynunet import DynUNet  # seconds to import

        depth = arguments.base_depth
        network = DynUNet(
            spatial_dims=2,
            in_channels=arguments.in_channels,
            out_channels=arguments.num_classes,
            kernel_size=[3] * (depth + 1),
            strides=[1] + [2] * depth,
            upsample_kernel_size=[2] * depth,
            filters=[min(arguments.base_filters * 2**k, MAX_FILTERS) for k in range(depth + 1)],
            norm_name="batch",
            deep_supervision=True,
            deep_supr_num=len(arguments.output_factors) - 1,
        )
        super().__init__(arguments, [network])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of each supervised resolution in training, coarse to fine, and of the last alone in eval mode.

        Args:
            image: ``(B, in_channels, H, W)``, any H and W ≥ 1, normalised; padded as a `CascadedUNet` does.

        Returns:
            Tensors ``(B, C, ceil(H / f), ceil(W / f))`` for each f of ``arguments.output_factors``.
        """
        height, width = image.shape[-2:]
        logits = self.levels[0](pad_to_multiple(image, self.alignment))
        if not self.training:
            return [logits[..., :height, :width]]
        # Finest first, all enlarged to the image's size by nearest neighbour, which every f-th pixel undoes.
        enlarged = logits.unbind(dim=1)[::-1]
        return [
            each[..., ::f, ::f][..., : -(-height // f), : -(-width // f)]
            for each, f in zip(enlarged, self.arguments.output_factors, strict=True)
        ]
