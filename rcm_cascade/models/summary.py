"""What a network is made of, level by level: the table that each run starts with."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from rcm_cascade.models.registry import Arguments, LevelGeometry, build_network


@dataclass(frozen=True)
class LevelSummary(LevelGeometry):
    """One level in numbers.

    Args:
        level: 1 is the coarsest.
        parameters: trainable numbers.
        convolutions: convolution layers, transposed and 1×1 ones too.
        gflop_per_mp: 10⁹ floating-point operations (a multiply-add is two) for a megapixel (10⁶ px) of the
            full-resolution mosaic.
    """

    level: int
    parameters: int
    convolutions: int
    gflop_per_mp: float


def summarise_network(arguments: Arguments) -> list[LevelSummary]:
    """Counts parameters and operations of each level, coarse to fine, without computing anything."""
    with torch.device("meta"):
        network = build_network(arguments).eval()
    rows = []
    for i, (unet, geometry) in enumerate(zip(network.levels, network.geometry, strict=True), start=1):
        side = 4 * geometry.alignment
        channels = arguments.in_channels + (arguments.prior_channels if i > 1 else 0)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            unet(torch.empty(1, channels, side, side, device="meta"))
        layers = [m for m in unet.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
        rows.append(
            LevelSummary(
                **vars(geometry),
                level=i,
                parameters=sum(p.numel() for p in unet.parameters()),
                convolutions=len(layers),
                gflop_per_mp=counter.get_total_flops() / (side * geometry.factor) ** 2 / 1e3,
            )
        )
    return rows
