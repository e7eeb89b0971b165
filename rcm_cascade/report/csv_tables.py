"""`results.csv`, `levels.csv` and `gradients.csv`: the numbers of a sweep, for other programs."""

from typing import Any

import pandas as pd

from rcm_cascade.report.compare import Comparison, Configuration
from rcm_cascade.report.learning import sort_stages
from rcm_cascade.report.numbers import ALL, FINAL_MAP, MEAN
from rcm_cascade.report.outcomes import REGION_NUMBERS

TRUTH = "truth"
"""The configuration of the row that holds the regions of the painted labels."""


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
    names, rows = (*comparison.classes.names, MEAN, ALL), []
    for c in comparison.configurations:
        first = c.outcomes[0]
        for name, holding in zip(names, [*first.holding, first.patients, None], strict=True):
            row = {"configuration": c.label, "class": name, **_numbers(comparison, c, name)}
            row |= {
                "reference": comparison.reference.label,
                "seeds": len(c.outcomes),
                "seeds_compared": c.seeds_compared or None,
                "jobs": len(c.jobs),
                "mosaics": first.count,
                "patients": first.patients,
                "patients_holding": holding,
                "remark": c.remark,
            }
            rows.append(row | ({"score": comparison.score} if name == ALL else {}))
    truth = (comparison.first.metrics.get("coherence") or {}).get("truth")
    if truth and not comparison.reference.remark:
        regions = {_column(comparison, key): truth.get(key) for key in REGION_NUMBERS}
        rows.append({"configuration": TRUTH, "class": ALL} | regions)
    return rows


def level_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a configuration and level: macro means of the level's own map, and differences to the next coarser."""
    return [
        {"configuration": c.label, "level": level, "factor": factor}
        | _numbers(comparison, c, MEAN, level)
        | {_column(comparison, "regions_per_area"): comparison.number(c, "regions_per_area", ALL, level).mean}
        for c in comparison.configurations
        for level, factor in c.levels
    ]


def gradient_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row a configuration, level and stage: geometric means over epochs and seeds; none where not recorded."""
    gradients = {c.label: c.gradients for c in comparison.configurations}
    stages = sort_stages({stage for of in gradients.values() for _, stage in of})
    return [
        {"configuration": label, "level": level, "stage": stage, "first_third": early, "all_epochs": whole}
        for label, of in gradients.items()
        for (level, stage), (early, whole) in sorted(of.items(), key=lambda e: (e[0][0], stages.index(e[0][1])))
    ]


def _column(comparison: Comparison, metric: str) -> str:
    """Its name in the tables, where regions per area are per unit of the data."""
    if metric == "time_to_score_s_n":
        return "seeds_that_reached_score"
    coherence = comparison.first.metrics.get("coherence") or {}
    unit = (coherence.get("prediction") or {}).get("unit", "mm2").lower()
    return metric.replace("regions_per_area", f"regions_per_{unit}")


def _numbers(comparison: Comparison, c: Configuration, name: str, level: int = FINAL_MAP) -> dict[str, Any]:
    """Of a class, or of `ALL`, whose means have no ``_mean`` in the name of their column."""
    row: dict[str, Any] = {}
    for (label, of_level, of_class, metric), number in comparison.numbers.items():
        if (label, of_level, of_class) == (c.label, level, name):
            found = number.difference
            low, high = (found and found.interval) or (None, None)
            row |= {
                metric if name == ALL else f"{metric}_mean": number.mean,
                f"{metric}_sd": number.sd,
                f"{metric}_n": number.n,
                f"{metric}_difference": found and found.value,
                f"{metric}_difference_low": low,
                f"{metric}_difference_high": high,
                f"{metric}_differs": found and found.differs,
            }
    return {_column(comparison, column): value for column, value in row.items()}


def _text(value: Any) -> str:  # noqa: ANN401 (whatever JSON holds)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:.0f}" if value == int(value) else f"{value:.6g}"
