"""The numbers of each configuration over its seeds, and their differences to a reference."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.evaluate.paired import Difference, count_compared, paired_differences, shared_seeds
from rcm_cascade.report.configurations import Configuration
from rcm_cascade.report.learning import (
    GradientNorms,
    best_score,
    geometric_mean,
    gradient_norms,
    reached,
    training_seconds,
)
from rcm_cascade.report.levels import LevelNumbers, summarise_levels
from rcm_cascade.report.outcomes import METRICS, REGION_NUMBERS, Numbers, Outcome, class_numbers, region_numbers
from rcm_cascade.report.spread import Spread, spread
from rcm_cascade.report.table import describe_mosaics

SCORE_SHARE: Final = 0.9
"""Of the reference's mean best validation score: the score that `time to score` is measured to, if none is given."""


@dataclass(frozen=True, eq=False)
class ConfigurationResult:
    """What a configuration gave on the test mosaics.

    Args:
        configuration: whose.
        outcomes: by seed, at least one.
        numbers: for each metric its spread by class, the macro mean last; pooled over the test mosaics of a seed.
        differences: the same shape, to the reference; empty for the reference and where ``remark`` says why.
        regions: `REGION_NUMBERS` of the predicted map.
        region_differences: of these; empty as ``differences`` is, and where regions were not counted.
        calibration_error: expected calibration error, uncalibrated.
        calibrated_error: the same at the temperature fitted on validation mosaics, of the seeds that have one.
        parameters: of the network; None where not recorded.
        gflop_per_mp: of the network; None where not recorded.
        train_seconds: of training, validation left out.
        seconds_to_score: of the seeds that reached it.
        epochs_to_score: of the same.
        gradients: geometric means over the seeds.
        levels: coarse to fine; empty where not recorded.
        remark: why there is no difference to the reference, or why there is none to it; else empty.
        seeds_compared: that the differences come from, as `count_compared` says; 0 without any.
    """

    configuration: Configuration
    outcomes: tuple[Outcome, ...]
    numbers: Mapping[str, tuple[Spread, ...]]
    differences: Mapping[str, tuple[Difference, ...]]
    regions: Mapping[str, Spread]
    region_differences: Mapping[str, Difference]
    calibration_error: Spread
    calibrated_error: Spread
    parameters: float | None
    gflop_per_mp: float | None
    train_seconds: Spread
    seconds_to_score: Spread
    epochs_to_score: Spread
    gradients: GradientNorms = field(default_factory=dict)
    levels: tuple[LevelNumbers, ...] = ()
    remark: str = ""
    seeds_compared: int = 0

    @property
    def label(self) -> str:
        """Of the configuration."""
        return self.configuration.label

    @property
    def confusion(self) -> NDArray[np.int64]:
        """``(C, C)``, rows = truth, summed over test mosaics; the mean over seeds, in whole pixels."""
        mean = np.mean([o.confusions.sum(axis=0) for o in self.outcomes], axis=0)
        pixels: NDArray[np.int64] = np.rint(mean).astype(np.int64)
        return pixels


def default_score(reference: Sequence[Outcome]) -> float | None:
    """`SCORE_SHARE` of the mean over seeds of the best validation score; None where nothing was validated."""
    best = spread(best_score(o.history) for o in reference).mean
    return None if best is None else SCORE_SHARE * best


def summarise_configuration(
    configuration: Configuration, outcomes: Sequence[Outcome], reference: Sequence[Outcome], score: float | None
) -> ConfigurationResult:
    """All numbers of a configuration.

    Args:
        configuration: whose.
        outcomes: of its finished jobs, at least one; in any order.
        reference: of the reference's, at least one; the same sequence for the reference itself.
        score: that `time to score` is measured to; None: it is not measured.
    """
    ours = sorted(outcomes, key=lambda o: o.job.seed)
    is_reference = {o.job.name for o in ours} == {o.job.name for o in reference}
    remark = _why_not_comparable(ours, reference)
    if remark and is_reference:
        remark = "its jobs were not all tested on the same labelled mosaics, so nothing is compared with it"
    compared = not is_reference and not remark
    seeds, others = ({o.job.seed: o for o in side} for side in (ours, reference))
    times = [None if score is None else reached(o.history, score) for o in ours]
    coherence: list[Mapping[str, Any]] = [(o.metrics.get("coherence") or {}).get("prediction") or {} for o in ours]
    calibration: list[Mapping[str, Any]] = [o.metrics.get("calibration") or {} for o in ours]
    return ConfigurationResult(
        configuration=configuration,
        outcomes=tuple(ours),
        numbers={metric: _by_class(ours, class_numbers(metric)) for metric in METRICS},
        differences=(
            {metric: _compare(ours, reference, _confusions, class_numbers(metric)) for metric in METRICS}
            if compared
            else {}
        ),
        regions={key: spread(numbers.get(key) for numbers in coherence) for key in REGION_NUMBERS},
        region_differences=(
            dict(zip(REGION_NUMBERS, _compare(ours, reference, _regions, region_numbers), strict=True))
            if compared and all(o.regions is not None for o in [*ours, *reference])
            else {}
        ),
        calibration_error=spread(c.get("ece") for c in calibration),
        calibrated_error=spread(
            c.get("ece_at_temperature") if c.get("temperature", 1) != 1 else None for c in calibration
        ),
        parameters=spread(o.result.get("parameters") for o in ours).mean,
        gflop_per_mp=spread(o.result.get("gflop_per_mp") for o in ours).mean,
        train_seconds=spread(training_seconds(o.history) for o in ours),
        seconds_to_score=spread(time[0] if time else None for time in times),
        epochs_to_score=spread(time[1] if time else None for time in times),
        gradients=_mean_gradients(ours),
        levels=summarise_levels(ours),
        remark=remark,
        seeds_compared=count_compared(seeds, others) if compared else 0,
    )


def describe_seeds(ours: Sequence[Outcome], reference: Sequence[Outcome]) -> str:
    """How the runs of two configurations are set against each other."""
    a, b = ({o.job.seed: o for o in side} for side in (ours, reference))
    shared = shared_seeds(a, b)
    if len(shared) > 1:
        return f"{len(shared)} seeds, each with itself"
    return "one seed, which is not drawn" if shared else f"seeds {_listed(a)} against {_listed(b)}"


def describe_tested(outcomes: Sequence[Outcome]) -> str:
    """``"9 test mosaics of 7 patients"``; where the outcomes differ in it, each of what they have."""
    texts = (describe_mosaics(len(o.mosaics), o.patients, o.nameless, "test mosaic") for o in outcomes)
    return " or ".join(dict.fromkeys(texts))


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _why_not_comparable(ours: Sequence[Outcome], reference: Sequence[Outcome]) -> str:
    if any(o.classes != reference[0].classes for o in ours):
        return "other classes than the reference's"
    if len({o.tested for o in [*ours, *reference]}) > 1:
        return "not all of its jobs and the reference's were tested on the same labelled mosaics"
    return ""


def _by_class(outcomes: Sequence[Outcome], numbers: Numbers) -> tuple[Spread, ...]:
    values = np.stack([numbers(o.confusions.sum(axis=0)) for o in outcomes])
    return tuple(spread(column) for column in values.T.tolist())


def _confusions(outcome: Outcome) -> NDArray[Any]:
    return outcome.confusions


def _regions(outcome: Outcome) -> NDArray[Any]:
    assert outcome.regions is not None
    return outcome.regions


def _compare(
    ours: Sequence[Outcome], reference: Sequence[Outcome], sums: Callable[[Outcome], NDArray[Any]], numbers: Numbers
) -> tuple[Difference, ...]:
    a, b = ({o.job.seed: o.by_patient(sums(o)) for o in side} for side in (ours, reference))
    return paired_differences(a, b, numbers)


def _mean_gradients(outcomes: Sequence[Outcome]) -> GradientNorms:
    of_seeds = [gradient_norms(o.history) for o in outcomes]
    keys = [key for key in of_seeds[0] if all(key in norms for norms in of_seeds)]
    return {
        key: (geometric_mean([n[key][0] for n in of_seeds]), geometric_mean([n[key][1] for n in of_seeds]))
        for key in keys
    }
