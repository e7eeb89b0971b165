"""Intervals of results and of paired differences, by the bootstrap over patients: their pixels are not independent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rcm_cascade.evaluate.metrics import METRICS, Metric, Numbers

MIN_PATIENTS: Final = 5
"""With fewer patients there are too few different resamples (126 for five) for a 95 % interval to mean anything. Those
count in whom a number is defined: a class that three patients hold has no interval, however many were tested."""

LEVEL: Final = 0.95
"""Coverage of the intervals."""

METHOD: Final = "expanded percentiles, patients drawn with replacement"

Interval = tuple[float, float] | None
"""Lower and upper bound; ``None`` where there is none to give."""

DRAWS: Final = 2000


def bootstrap(
    matrices: Sequence[NDArray[np.int64]] | NDArray[np.int64],
    patients: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[Interval, ...]]:
    """Intervals of each class's numbers and of their macro means.

    Patients are drawn with replacement, as many as there are, and their confusion matrices summed; a resample in which
    a number is undefined (the class is with no drawn patient) is left out of that number's percentiles, and in a macro
    mean the classes that the resample has are averaged. A number that is defined in fewer than `MIN_PATIENTS` patients
    has no interval: sensitivity in those who hold the class, specificity in those who hold another, Dice in those who
    hold it or were given it.

    Args:
        matrices: one ``(C, C)`` int64 confusion matrix a mosaic.
        patients: the patient of each mosaic.
        draws: resamples.
        seed: the same seed gives the same resamples of the same number of patients.

    Returns:
        By metric: one a class, then that of the macro mean over the classes present in the resample's truth.

    Raises:
        ValueError: without a matrix, or if there are not as many patients as matrices.
    """
    pooled = pool_by_patient(matrices, patients)
    resampled = np.tensordot(draw_patients(len(pooled), draws, seed), pooled, axes=1)

    def of(metric: Metric) -> tuple[Interval, ...]:
        columns = zip(metric.with_mean(resampled).T, defined_in(metric.with_mean(pooled)), strict=True)
        return tuple(percentile_interval(column, patients=n) for column, n in columns)

    return {name: of(metric) for name, metric in METRICS.items()}


def defined_in(values: NDArray[np.float64]) -> list[int]:
    """In how many patients each number is defined, from its values in each patient alone ``(P, K)``: K counts."""
    counts: list[int] = np.isfinite(values).sum(axis=0).tolist()
    return counts


def pool_by_patient(values: Sequence[NDArray[Any]] | NDArray[Any], patients: Sequence[str]) -> NDArray[Any]:
    """Sums what was counted on each mosaic, ``(M, …)``, to ``(P, …)``, patients in alphabetical order.

    Raises:
        ValueError: without a mosaic, or if there are not as many patients as mosaics.
    """
    if not len(values) or len(values) != len(patients):
        raise ValueError(f"got counts of {len(values)} mosaics and {len(patients)} patients; expected one each")
    stacked = np.asarray(values)
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    pooled = np.zeros((len(names), *stacked.shape[1:]), stacked.dtype)
    np.add.at(pooled, index, stacked)
    return pooled


def draw_patients(patients: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is in each resample: ``(draws, patients)`` int64, rows sum to ``patients``.

    Comparing two results by the same rows makes their difference a paired one.
    """
    return np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=draws)


def tail(patients: int, level: float = LEVEL) -> float:
    """What the percentiles of a resample of so many patients, two or more, leave out at each end.

    Percentiles of few patients' resamples are too narrow, as a normal interval with the n-divided standard deviation
    is. Expanded percentiles make up for both: ``Phi(-sqrt(n / (n - 1)) * t)``, ``t`` the quantile of Student's
    distribution of n - 1 degrees of freedom (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section
    5.3): 0.0010 for five patients, 0.0108 for twelve, and 0.025 for very many.
    """
    quantile = stats.t.ppf((1 + level) / 2, patients - 1)
    return float(stats.norm.cdf(-math.sqrt(patients / (patients - 1)) * quantile))


def percentile_interval(values: NDArray[np.float64], *, patients: int, level: float = LEVEL) -> Interval:
    """Expanded percentiles (`tail`) of the defined values.

    Args:
        values: of the resamples; NaN where undefined.
        patients: in whom the number is defined.
        level: coverage.

    Returns:
        None below `MIN_PATIENTS` patients, or if all values are NaN.
    """
    defined = values[~np.isnan(values)]
    if patients < MIN_PATIENTS or not len(defined):
        return None
    outside = tail(patients, level)
    low, high = np.quantile(defined, [outside, 1 - outside])
    return float(low), float(high)


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
    shared = shared_seeds(ours, theirs)
    a, b = (np.stack([runs[s] for s in shared or sorted(runs)]) for runs in (ours, theirs))  # (S, P, …)
    values = numbers(a.sum(axis=1)).mean(axis=0) - numbers(b.sum(axis=1)).mean(axis=0)
    drawn = draw_patients(a.shape[1], draws, seed)
    weights = draw_patients(len(a), draws, seed + 1)  # seeds are drawn as patients are
    others = weights if shared else draw_patients(len(b), draws, seed + 2)
    resampled = _resample(a, drawn, weights, numbers) - _resample(b, drawn, others, numbers)
    defined = [min(column) for column in zip(*(defined_in(numbers(run)) for run in [*a, *b]), strict=True)]
    return tuple(
        Difference(float(value), percentile_interval(column, patients=n), n)
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
