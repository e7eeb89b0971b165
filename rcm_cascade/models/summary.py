"""What a network is made of, level by level, and networks of as many parameters or operations as the cascade."""

from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from rcm_cascade.models.cascade import CascadeArguments
from rcm_cascade.models.registry import Arguments, LevelGeometry

Matched = Literal["parameters", "flops"]
"""In what a network is made equal to the cascade."""


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
        network = arguments.build().eval()
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


def fewest_normed(arguments: Arguments, batch: int, side: int) -> tuple[int, int]:
    """The level, from 1, of the batch norm that sees the fewest values a channel, and how many; nothing is computed.

    Args:
        arguments: of the network.
        batch: patches in a batch.
        side: of a patch, in px.

    Returns:
        Level and number of values; of a network without batch norms, 0 and as many as the batch has pixels.
    """
    seen = [(batch * side**2, 0)]
    with torch.device("meta"):
        network = arguments.build().eval()  # in training they would refuse
    for number, level in enumerate(network.levels, start=1):
        for norm in (part for part in level.modules() if isinstance(part, torch.nn.BatchNorm2d)):
            norm.register_forward_pre_hook(
                lambda norm, given, number=number: seen.append((given[0].numel() // norm.num_features, number))
            )
    with torch.no_grad():
        network(torch.empty(batch, arguments.in_channels, side, side, device="meta"))
    values, number = min(seen)
    return number, values


def matched(arguments: Arguments, quantity: Matched) -> Arguments:
    """The same design with as many filters as bring it nearest to the paper's form.

    Args:
        arguments: of the design; its ``base_filters`` are those of the cascade compared with.
        quantity: parameters, or operations a megapixel of the mosaic.

    Returns:
        The arguments with other ``base_filters``.
    """
    cascade = CascadeArguments(
        num_classes=arguments.num_classes, in_channels=arguments.in_channels, base_filters=arguments.base_filters
    )
    wanted, filters = _amount(cascade, quantity), arguments.base_filters
    for _ in range(3):  # both grow with the square of the filters, but for a few
        there = _amount(replace(arguments, base_filters=filters), quantity)
        filters = max(1, round(filters * sqrt(wanted / there)))
    return replace(arguments, base_filters=filters)


def _amount(arguments: Arguments, quantity: Matched) -> float:
    levels = summarise_network(arguments)
    return fsum(level.parameters if quantity == "parameters" else level.gflop_per_mp for level in levels)
