"""The U-Net that stands at each level of the cascade."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS_PER_BLOCK = 2


class BConv(nn.Sequential):
    """The paper's basic convolution: 3×3 convolution, batch norm, ReLU.

    The convolution has no bias: the batch norm's shift takes its place.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    rest = (BConv(out_channels, out_channels) for _ in range(CONVOLUTIONS_PER_BLOCK - 1))
    return nn.Sequential(BConv(in_channels, out_channels), *rest)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with zero-padded convolutions, so output and input are of one size.

    Down-sampling is 2×2 max pooling; filters double at each pooling; up-sampling is a 2×2 transposed convolution of
    stride 2, which keeps the network's reach small and its grid exact.

    Args:
        in_channels: channels of the input.
        num_classes: channels of the output, one logit a class.
        base_filters: filters of the first block.
        depth: number of poolings, ≥ 1.

    Attributes:
        run_block: what calls a block, ``run_block(block, x)``; training may put one here that saves memory.

    Raises:
        ValueError: if the input's height or width is no multiple of ``2 ** depth``.
    """

    run_block: Callable[[nn.Module, Tensor], Tensor] = staticmethod(lambda block, x: block(x))

    def __init__(self, in_channels: int, num_classes: int, base_filters: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        widths = [base_filters * 2**k for k in range(depth + 1)]
        self.encoder = nn.ModuleList(_block(i, o) for i, o in zip([in_channels, *widths], widths[:-1], strict=False))
        self.bottom = _block(widths[-2], widths[-1])
        coarse_to_fine = list(reversed(range(depth)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(widths[k + 1], widths[k], 2, stride=2) for k in coarse_to_fine)
        self.decoder = nn.ModuleList(_block(2 * widths[k], widths[k]) for k in coarse_to_fine)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, num_classes, H, W)`` for ``(B, in_channels, H, W)``, H and W multiples of ``2 ** depth``."""
        step = 2**self.depth
        if x.shape[-2] % step or x.shape[-1] % step:
            raise ValueError(f"input is {x.shape[-2]}×{x.shape[-1]} px; expected multiples of {step} px: pad it first")
        skips: list[Tensor] = []
        for block in self.encoder:
            x = self.run_block(block, x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.run_block(self.bottom, x)
        for up, block in zip(self.up, self.decoder, strict=True):
            x = self.run_block(block, torch.cat([skips.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def unet_reach(depth: int, strided: bool = False) -> int:
    """How far, in px, an output tile that starts on a multiple of ``2 ** depth`` looks beyond its edge: one-sided.

    Follows the lower edge of the tile ``[0, …)`` back through the network: a 3×3 convolution needs one more pixel, an
    up-sampling the pixel ``floor(x / 2)``, a pooling the pixel ``2 x``. The upper edge reaches equally far, by
    symmetry. A 3×3 convolution of stride 2 reads the pixels ``2 x - 1 … 2 x + 1``: the lower edge reaches farther.

    Args:
        depth: number of poolings, or of strided convolutions, ≥ 0.
        strided: whether each block's first convolution, of stride 2, takes the place of a pooling, as in a DynUNet.

    Returns:
        22, 46, 94 for depths 2, 3, 4; strided 19, 39, 79.
    """
    stride = int(strided)
    edge, skips = 0, []
    for _ in range(depth):
        edge -= CONVOLUTIONS_PER_BLOCK
        skips.append(edge)
        edge = math.floor(edge / 2)
    edge -= CONVOLUTIONS_PER_BLOCK - stride
    for skip in reversed(skips):
        edge = min(skip, 2 * edge - stride) - (CONVOLUTIONS_PER_BLOCK - stride)
    return stride - edge
