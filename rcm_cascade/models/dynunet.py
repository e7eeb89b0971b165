"""MONAI's DynUNet, nnU-Net's network, as the peer that a user would take; extra ``[bench]``."""

import importlib.util
from typing import Final

from torch import Tensor, nn

from rcm_cascade.errors import InputError
from rcm_cascade.models.cascade import CascadeArguments, LevelGeometry, pad_to_multiple

MAX_FILTERS: Final = 512
"""nnU-Net's limit for two-dimensional networks."""


class DynUNetPeer(nn.Module):
    """One DynUNet at full resolution, with the interface of a `CascadedUNet`.

    As nnU-Net configures it (Isensee et al. 2021): 3×3 convolutions, stride 2 on the way down, leaky ReLU, a transposed
    convolution on the way up, deep supervision. Batch norm stands in for instance norm, whose statistics over a tile
    are not those over the whole, so that annotation in strips stays exact.

    Args:
        arguments: with ``network="dynunet"``; ``base_depth`` and ``base_filters`` are used.

    Raises:
        InputError: if MONAI is not installed.
    """

    def __init__(self, arguments: CascadeArguments) -> None:
        super().__init__()
        require_monai()
        from monai.networks.nets.dynunet import DynUNet  # seconds to import

        self.arguments = arguments
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
        self.levels = nn.ModuleList([network])

    @property
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """Of the only level."""
        return self.arguments.geometry

    @property
    def alignment(self) -> int:
        """Full-resolution images are padded to a multiple of this many px."""
        return self.arguments.alignment

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

    def predict(self, image: Tensor) -> Tensor:
        """Logits of the final map, ``(B, C, H, W)``, in eval mode and in training mode alike."""
        return self.forward(image)[-1]

    def final(self, outputs: list[Tensor]) -> Tensor:
        """The last of `forward`'s outputs."""
        return outputs[-1]

    def as_prior(self, logits: Tensor) -> Tensor:
        """Nothing takes it; see `CascadedUNet.as_prior`."""
        return logits.softmax(dim=1)


def require_monai() -> None:
    """Refuses a DynUNet where MONAI is missing.

    Raises:
        InputError: if it is not installed.
    """
    if importlib.util.find_spec("monai") is None:
        raise InputError("model.network=dynunet is MONAI's, which is not installed: pip install 'rcm-cascade[bench]'")
