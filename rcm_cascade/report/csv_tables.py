"""`results.csv`, `levels.csv` and `gradients.csv`: the numbers of a sweep, for other programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.learning import sort_stages
from rcm_cascade.report.outcomes import METRICS
from rcm_cascade.report.results import ConfigurationResult
from rcm_cascade.report.spread import Spread

TRUTH = "truth"
"""The configuration of the row that holds the regions of the painted labels."""


ALL = "all"
"""The class of the row of what is one number for a configuration: size, times, regions, calibration."""


def region_columns(comparison: Comparison) -> dict[str, str]:
    """The names in the tables of `REGION_NUMBERS`; the first one's unit is the data's."""
    coherence = comparison.reference.outcomes[0].metrics.get("coherence") or {}
    unit = (coherence.get("prediction") or {}).get("unit", "mm2").lower()
    return {
        "regions_per_area": f"regions_per_{unit}",
        "small_regions_share": "small_regions_share",
        "small_area_share": "small_area_share",
    }


def result_rows(comparison: Comparison) -> list[dict[str, str]]:
    """One row a configuration and class, its macro mean, and one of all that is no number of a class; then the truth's.

    Numbers are means over seeds, ``…_sd`` their standard deviation and ``…_n`` the seeds that have them;
    ``…_difference`` is that to the reference with its interval. What is not defined is blank.
    """
    names = (*comparison.classes.names, "mean")
    rows = []
    for result in comparison.configurations:
        shared, whole = _shared(comparison, result), _whole(comparison, result)
        first = result.outcomes[0]
        for i, (name, holding) in enumerate(zip(names, [*first.holding, first.patients], strict=True)):
            row = {"configuration": result.label, "class": name}
            for metric in METRICS:
                row |= _spread(metric, result.numbers[metric][i])
                row |= _difference(metric, result.differences[metric][i] if result.differences else None)
            rows.append(row | shared | {"patients_holding": str(holding)} | dict.fromkeys(whole, ""))
        rows.append(dict.fromkeys(rows[-1], "") | {"configuration": result.label, "class": ALL} | shared | whole)
    truth = (comparison.reference.outcomes[0].metrics.get("coherence") or {}).get("truth")
    if truth and not comparison.reference.remark:
        row = dict.fromkeys(rows[0], "") | {"configuration": TRUTH, "class": ALL}
        rows.append(row | {column: _text(truth.get(key)) for key, column in region_columns(comparison).items()})
    return rows


def level_rows(comparison: Comparison) -> list[dict[str, str]]:
    """One row a configuration and level: macro means of the level's own map, and differences to the next coarser."""
    column = region_columns(comparison)["regions_per_area"]
    rows = []
    for result in comparison.configurations:
        for level in result.levels:
            row = {"configuration": result.label, "level": str(level.level), "factor": str(level.factor)}
            for metric in METRICS:
                row |= _spread(metric, level.means[metric])
                row |= _difference(metric, level.differences.get(metric))
            rows.append(row | {column: _text(level.regions_per_area.mean)})
    return rows


def gradient_rows(comparison: Comparison) -> list[dict[str, str]]:
    """One row a configuration, level and stage: geometric means over epochs and seeds; none where not recorded."""
    stages = sort_stages({stage for result in comparison.configurations for _, stage in result.gradients})
    return [
        {
            "configuration": result.label,
            "level": str(level),
            "stage": stage,
            "first_third": _text(early),
            "all_epochs": _text(whole),
        }
        for result in comparison.configurations
        for (level, stage), (early, whole) in sorted(
            result.gradients.items(), key=lambda entry: (entry[0][0], stages.index(entry[0][1]))
        )
    ]


def to_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of the same keys as CSV with a header; empty without a row."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _shared(comparison: Comparison, result: ConfigurationResult) -> dict[str, str]:
    """What each row of a configuration says."""
    first = result.outcomes[0]
    return {
        "reference": comparison.reference.label,
        "seeds": str(len(result.outcomes)),
        "seeds_compared": str(result.seeds_compared) if result.differences else "",
        "jobs": str(len(result.configuration.jobs)),
        "mosaics": str(len(first.mosaics)),
        "patients": str(first.patients),
        "remark": result.remark,
    }


def _whole(comparison: Comparison, result: ConfigurationResult) -> dict[str, str]:
    """What is one number for a configuration, not one a class."""
    row = {
        "parameters": "" if result.parameters is None else f"{result.parameters:.0f}",
        "gflop_per_mp": _text(result.gflop_per_mp),
        "train_seconds": _text(result.train_seconds.mean),
        "train_seconds_sd": _text(result.train_seconds.sd),
        "score": _text(comparison.score),
        "time_to_score_s": _text(result.seconds_to_score.mean),
        "time_to_score_s_sd": _text(result.seconds_to_score.sd),
        "epochs_to_score": _text(result.epochs_to_score.mean),
        "epochs_to_score_sd": _text(result.epochs_to_score.sd),
        "seeds_that_reached_score": str(result.seconds_to_score.n),
    }
    for key, column in region_columns(comparison).items():
        row |= {column: _text(result.regions[key].mean), f"{column}_sd": _text(result.regions[key].sd)}
        row |= _difference(column, result.region_differences.get(key))
    return row | {
        "ece": _text(result.calibration_error.mean),
        "ece_sd": _text(result.calibration_error.sd),
        "ece_at_temperature": _text(result.calibrated_error.mean),
        "ece_at_temperature_sd": _text(result.calibrated_error.sd),
    }


def _spread(name: str, of_seeds: Spread) -> dict[str, str]:
    return {f"{name}_mean": _text(of_seeds.mean), f"{name}_sd": _text(of_seeds.sd), f"{name}_n": str(of_seeds.n)}


def _difference(name: str, difference: Difference | None) -> dict[str, str]:
    value, interval, told = (None, None, None)
    if difference is not None:
        value, interval, told = difference.value, difference.interval, difference.told
    low, high = interval or (None, None)
    return {
        f"{name}_difference": _text(value),
        f"{name}_difference_low": _text(low),
        f"{name}_difference_high": _text(high),
        f"{name}_told_from_zero": "" if told is None else str(told).lower(),
    }


def _text(value: Any) -> str:  # noqa: ANN401 (whatever JSON holds)
    return "" if value is None else f"{value:.6g}"
