"""`results.csv`, `levels.csv` and `gradients.csv`: the numbers of a sweep, for other programs."""

from typing import Any

import pandas as pd

from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.compare import Comparison, Configuration
from rcm_cascade.report.learning import sort_stages
from rcm_cascade.report.numbers import ALL, MEAN, Number
from rcm_cascade.report.outcomes import REGION_NUMBERS

TRUTH = "truth"
"""The configuration of the row that holds the regions of the painted labels."""

WHOLE = ("train_seconds", "time_to_score_s", "epochs_to_score", "ece", "ece_at_temperature")
"""Numbers of a whole configuration that are written with their standard deviation."""


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV with a header; what is not defined is blank. Empty without a row."""
    table = pd.DataFrame(rows, dtype=object).map(_text)
    text: str = table.to_csv(index=False, lineterminator="\n") if rows else ""
    return text


def result_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a configuration and class, its macro mean, and one of all that is no number of a class; then the truth's.

    Numbers are means over seeds, ``…_sd`` their standard deviation and ``…_n`` the seeds that have them;
    ``…_difference`` is that to the reference with its interval, and ``…_differs`` whether that leaves out zero.
    """
    rows = []
    for c in comparison.configurations:
        first, shared = c.outcomes[0], _shared(comparison, c)
        for name, holding in zip((*comparison.classes.names, MEAN), [*first.holding, first.patients], strict=True):
            numbers = {f"{m}_{k}": v for m in METRICS for k, v in _columns(comparison.number(c, m, name)).items()}
            rows.append({"configuration": c.label, "class": name} | numbers | shared | {"patients_holding": holding})
        rows.append({"configuration": c.label, "class": ALL} | shared | _whole(comparison, c))
    truth = (comparison.first.metrics.get("coherence") or {}).get("truth")
    if truth and not comparison.reference.remark:
        regions = {column: truth.get(key) for key, column in _region_columns(comparison).items()}
        rows.append({"configuration": TRUTH, "class": ALL} | regions)
    return rows


def level_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a configuration and level: macro means of the level's own map, and differences to the next coarser."""
    density = _region_columns(comparison)["regions_per_area"]
    rows = []
    for c in comparison.configurations:
        for level, factor in c.levels:
            row = {"configuration": c.label, "level": level, "factor": factor}
            for m in METRICS:
                row |= {f"{m}_{k}": v for k, v in _columns(comparison.number(c, m, MEAN, level)).items()}
            rows.append(row | {density: comparison.number(c, "regions_per_area", ALL, level).mean})
    return rows


def gradient_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a configuration, level and stage: geometric means over epochs and seeds; none where not recorded."""
    gradients = {c.label: c.gradients for c in comparison.configurations}
    stages = sort_stages({stage for of in gradients.values() for _, stage in of})
    return [
        {"configuration": label, "level": level, "stage": stage, "first_third": early, "all_epochs": whole}
        for label, of in gradients.items()
        for (level, stage), (early, whole) in sorted(of.items(), key=lambda e: (e[0][0], stages.index(e[0][1])))
    ]


def _region_columns(comparison: Comparison) -> dict[str, str]:
    """The names in the tables of `REGION_NUMBERS`; the first one's unit is the data's."""
    coherence = comparison.first.metrics.get("coherence") or {}
    unit = (coherence.get("prediction") or {}).get("unit", "mm2").lower()
    return {key: f"regions_per_{unit}" if key == "regions_per_area" else key for key in REGION_NUMBERS}


def _shared(comparison: Comparison, c: Configuration) -> dict[str, Any]:
    """What each row of a configuration says."""
    return {
        "reference": comparison.reference.label,
        "seeds": len(c.outcomes),
        "seeds_compared": c.seeds_compared or None,
        "jobs": len(c.jobs),
        "mosaics": len(c.outcomes[0].mosaics),
        "patients": c.outcomes[0].patients,
        "remark": c.remark,
    }


def _whole(comparison: Comparison, c: Configuration) -> dict[str, Any]:
    """What is one number for a configuration, not one a class."""
    row = {key: comparison.number(c, key, ALL).mean for key in ("parameters", "gflop_per_mp")}
    for key in WHOLE:
        number = comparison.number(c, key, ALL)
        row |= {key: number.mean, f"{key}_sd": number.sd}
    for key, column in _region_columns(comparison).items():
        columns = _columns(comparison.number(c, key, ALL))
        row |= {column: columns.pop("mean")} | {f"{column}_{k}": v for k, v in columns.items() if k != "n"}
    reached = comparison.number(c, "time_to_score_s", ALL).n
    return row | {"score": comparison.score, "seeds_that_reached_score": reached}


def _columns(number: Number) -> dict[str, Any]:
    found = number.difference
    low, high = (found and found.interval) or (None, None)
    return {
        "mean": number.mean,
        "sd": number.sd,
        "n": number.n,
        "difference": found and found.value,
        "difference_low": low,
        "difference_high": high,
        "differs": found and found.differs,
    }


def _text(value: Any) -> str:  # noqa: ANN401 (whatever JSON holds)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:.0f}" if value == int(value) else f"{value:.6g}"
