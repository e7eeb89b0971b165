"""A number over seeds: its mean, and how far seeds differ."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Args:
        mean: None where no seed has it.
        sd: standard deviation between seeds (n - 1); None below two.
        n: seeds that have it.
    """

    mean: float | None
    sd: float | None
    n: int


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and standard deviation of those that are given and no NaN."""
    defined = [v for v in values if v is not None and not math.isnan(v)]
    if not defined:
        return Spread(None, None, 0)
    sd = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return Spread(float(np.mean(defined)), sd, len(defined))
