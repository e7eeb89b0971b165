"""Networks of as many parameters or operations as the cascade that they are compared with."""

from bisect import bisect_left
from dataclasses import replace
from math import fsum
from typing import Literal

from rcm_cascade.models.cascade import CascadeArguments
from rcm_cascade.models.registry import Arguments
from rcm_cascade.models.summary import summarise_network

Matched = Literal["parameters", "flops"]
"""In what a network is made equal to the cascade."""


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
    wanted = _amount(cascade, quantity)

    def amount(filters: int) -> float:
        return _amount(replace(arguments, base_filters=filters), quantity)

    widest = arguments.base_filters
    while amount(widest) < wanted:
        widest *= 2
    enough = bisect_left(range(1, widest + 1), wanted, key=amount) + 1
    nearest = min((max(1, enough - 1), enough), key=lambda filters: abs(amount(filters) - wanted))
    return replace(arguments, base_filters=nearest)


def _amount(arguments: Arguments, quantity: Matched) -> float:
    levels = summarise_network(arguments)
    return fsum(level.parameters if quantity == "parameters" else level.gflop_per_mp for level in levels)
