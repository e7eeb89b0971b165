"""The difference between two configurations on the same patients, and whether it differs from zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.evaluate.bootstrap import LEVEL, Interval, defined_in, draw_patients, percentile_interval
from rcm_cascade.evaluate.metrics import Numbers

DRAWS: Final = 2000


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs.

    Args:
        value: None where the number is undefined on either side.
        interval: `LEVEL` bounds, or None where there are none to give.
        patients: in whom the number is defined, on the side and in the run that have the fewest; None: not counted.
    """

    value: float | None
    interval: Interval
    patients: int | None = None

    @property
    def differs(self) -> bool | None:
        """Whether it differs from zero: its interval does not hold 0. None without an interval."""
        return None if self.interval is None else self.interval[0] > 0 or self.interval[1] < 0


def shared_seeds(ours: Mapping[int, object], theirs: Mapping[int, object]) -> list[int]:
    """The seeds that both have: they alone are compared, each with itself. Empty: all are, each with any."""
    return sorted(set(ours) & set(theirs))


def count_compared(ours: Mapping[int, object], theirs: Mapping[int, object]) -> int:
    """How many seeds a comparison draws from: the shared ones, else those of the side that has fewer."""
    return len(shared_seeds(ours, theirs)) or min(len(ours), len(theirs))


def paired_differences(
    ours: Mapping[int, NDArray[Any]],
    theirs: Mapping[int, NDArray[Any]],
    numbers: Numbers,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Differences of the mean over seeds of numbers that derive from sums over patients.

    In each resample the patients are drawn with replacement, the same for both, and so are the seeds: pairs of runs of
    one seed where both have it, else the runs of each by themselves. A resample in which a number is undefined is left
    out of that number's percentiles. Percentiles are expanded for the patients in whom the number is defined
    (`rcm_cascade.evaluate.bootstrap.tail`). With a single seed, or pair, the interval says nothing about other seeds.

    Args:
        ours: for each seed the sums by patient ``(P, …)``, patients in one order everywhere.
        theirs: the same of the reference.
        numbers: what derives from a sum over patients; K numbers.
        draws: resamples.
        seed: of the resampling.

    Returns:
        K differences; the interval of a number that is defined in too few patients (`percentile_interval`) is None.

    Raises:
        ValueError: without a run on either side, or if the numbers of patients differ.
    """
    counts = {len(sums) for sums in [*ours.values(), *theirs.values()]}
    if not ours or not theirs or len(counts) != 1:
        raise ValueError(f"got {len(ours)} and {len(theirs)} runs of {sorted(counts)} patients; expected one number")
    shared = shared_seeds(ours, theirs)
    a, b = (np.stack([runs[s] for s in shared or sorted(runs)]) for runs in (ours, theirs))  # (S, P, …)
    values = numbers(a.sum(axis=1)).mean(axis=0) - numbers(b.sum(axis=1)).mean(axis=0)
    patients = counts.pop()
    drawn = draw_patients(patients, draws, seed)
    weights = draw_patients(len(a), draws, seed + 1)  # seeds are drawn as patients are
    others = weights if shared else draw_patients(len(b), draws, seed + 2)
    resampled = _resample(a, drawn, weights, numbers) - _resample(b, drawn, others, numbers)
    defined = [min(column) for column in zip(*(defined_in(numbers(run)) for run in [*a, *b]), strict=True)]
    return tuple(
        Difference(float(value), percentile_interval(column, patients=n, level=LEVEL), n)
        if np.isfinite(value)
        else Difference(None, None, n)
        for value, column, n in zip(values, resampled.T, defined, strict=True)
    )


def _resample(
    sums: NDArray[Any], patients: NDArray[np.int64], seeds: NDArray[np.int64], numbers: Numbers
) -> NDArray[np.float64]:
    """Means over the drawn seeds of the numbers of the drawn patients: ``(S, P, …)`` to ``(draws, K)``."""
    values = numbers(np.tensordot(patients, sums, axes=(1, 1)))  # (draws, S, K)
    weights = seeds[:, :, np.newaxis]
    drawn = np.where(weights > 0, weights * values, 0.0)
    means: NDArray[np.float64] = drawn.sum(axis=1) / seeds.sum(axis=1, keepdims=True)
    return means
