"""Intervals by the percentile bootstrap over patients: pixels of one patient are no independent observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.evaluate.confusion import dice, macro_means, sensitivity, specificity

MIN_PATIENTS: Final = 5
"""With fewer patients there are too few different resamples (126 for five) for a 95 % interval to mean anything."""

Interval = tuple[float, float] | None
"""Lower and upper bound; ``None`` where there is none to give."""


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals of one pooled result.

    Args:
        patients: how many were drawn from.
        draws: number of resamples.
        level: coverage, such as 0.95.
        seed: of the resampling.
        sensitivity: one interval a class, and so on.
        mean_sensitivity: of the macro mean over the classes present in the resample's truth, and so on.
    """

    patients: int
    draws: int
    level: float
    seed: int
    sensitivity: tuple[Interval, ...]
    specificity: tuple[Interval, ...]
    dice: tuple[Interval, ...]
    mean_sensitivity: Interval
    mean_specificity: Interval
    mean_dice: Interval


def bootstrap(
    matrices: Sequence[NDArray[np.int64]],
    patients: Sequence[str],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Intervals of each class's numbers and of their macro means.

    Patients are drawn with replacement, as many as there are, and their confusion matrices summed; a resample in which
    a number is undefined (the class is with no drawn patient) is left out of that number's percentiles.

    Args:
        matrices: one ``(C, C)`` int64 confusion matrix a mosaic.
        patients: the patient of each mosaic.
        draws: resamples.
        level: coverage of the interval.
        seed: the same seed gives the same resamples of the same number of patients.

    Raises:
        ValueError: without a matrix, or if there are not as many patients as matrices.
    """
    pooled = pool_by_patient(matrices, patients)
    weights = draw_patients(len(pooled), draws, seed)
    resampled = np.tensordot(weights, pooled, axes=1)
    values = {number: number(resampled) for number in (sensitivity, specificity, dice)}
    enough = len(pooled) >= MIN_PATIENTS

    def per_class(number: NDArray[np.float64]) -> tuple[Interval, ...]:
        return tuple(percentile_interval(column, level) if enough else None for column in number.T)

    def mean(number: NDArray[np.float64]) -> Interval:
        return percentile_interval(macro_means(number, resampled), level) if enough else None

    return Intervals(
        patients=len(pooled),
        draws=draws,
        level=level,
        seed=seed,
        sensitivity=per_class(values[sensitivity]),
        specificity=per_class(values[specificity]),
        dice=per_class(values[dice]),
        mean_sensitivity=mean(values[sensitivity]),
        mean_specificity=mean(values[specificity]),
        mean_dice=mean(values[dice]),
    )


def pool_by_patient(matrices: Sequence[NDArray[np.int64]], patients: Sequence[str]) -> NDArray[np.int64]:
    """Sums mosaics' matrices ``(C, C)`` to ``(P, C, C)``, patients in alphabetical order.

    Raises:
        ValueError: without a matrix, or if there are not as many patients as matrices.
    """
    if not matrices or len(matrices) != len(patients):
        raise ValueError(f"got {len(matrices)} confusion matrices and {len(patients)} patients; expected one each")
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    pooled = np.zeros((len(names), *matrices[0].shape), np.int64)
    np.add.at(pooled, index, np.stack(matrices))
    return pooled


def draw_patients(patients: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is in each resample: ``(draws, patients)`` int64, rows sum to ``patients``.

    Comparing two results by the same rows makes their difference a paired one.
    """
    return np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=draws)


def percentile_interval(values: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Central ``level`` of the defined values; ``None`` if all are NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
