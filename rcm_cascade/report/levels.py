"""What each level's own map gave, over seeds, and its differences to the next coarser level's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from rcm_cascade.evaluate.paired import Difference, paired_differences
from rcm_cascade.report.outcomes import METRICS, Outcome, class_numbers
from rcm_cascade.report.spread import Spread, spread


@dataclass(frozen=True)
class LevelNumbers:
    """What one level's own map gave.

    Args:
        level: 1 is the coarsest.
        factor: down-sampling of the mosaic.
        means: the macro mean of each metric over the classes.
        differences: of each to the next coarser level's; empty for the coarsest, and where the evaluations do not
            record each level mosaic by mosaic.
        regions_per_area: as `pool_coherence` counts them.
    """

    level: int
    factor: int
    means: Mapping[str, Spread]
    differences: Mapping[str, Difference]
    regions_per_area: Spread


def summarise_levels(outcomes: Sequence[Outcome]) -> tuple[LevelNumbers, ...]:
    """Coarse to fine, of a configuration's outcomes; none where a seed's evaluation lacks them, or has others."""
    recorded = [o.metrics.get("levels") or [] for o in outcomes]
    if len({tuple(level["level"] for level in levels) for levels in recorded}) != 1:
        return ()
    results = []
    for i, level in enumerate(recorded[0]):
        of_seeds = [levels[i] for levels in recorded]
        coherence: list[Mapping[str, Any]] = [entry.get("coherence") or {} for entry in of_seeds]
        results.append(
            LevelNumbers(
                level=int(level["level"]),
                factor=int(level["factor"]),
                means={metric: spread(entry["mean"][metric] for entry in of_seeds) for metric in METRICS},
                differences=_to_the_coarser(outcomes, i) if i else {},
                regions_per_area=spread(c.get("regions_per_area") for c in coherence),
            )
        )
    return tuple(results)


def _to_the_coarser(outcomes: Sequence[Outcome], level: int) -> dict[str, Difference]:
    if any(o.levels is None or o.levels.shape[1] <= level for o in outcomes):
        return {}
    if len({o.tested for o in outcomes}) > 1:
        return {}
    finer, coarser = ({o.job.seed: o.by_patient(_level(o, i)) for o in outcomes} for i in (level, level - 1))
    return {metric: paired_differences(finer, coarser, class_numbers(metric))[-1] for metric in METRICS}


def _level(outcome: Outcome, level: int) -> NDArray[Any]:
    assert outcome.levels is not None
    return outcome.levels[:, level]
