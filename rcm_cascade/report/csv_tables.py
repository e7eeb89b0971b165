"""`results.csv`, `levels.csv` and `gradients.csv`: the numbers of a sweep, for other programs."""

from typing import Any, Final

import pandas as pd

from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.compare import Comparison
from rcm_cascade.report.frame import ALL, FINAL_MAP, MEAN
from rcm_cascade.report.outcomes import REGION_NUMBERS

TRUTH: Final = "truth"
"""The configuration of the row that holds the regions of the painted labels."""

SUFFIXES: Final = {
    "mean": "",
    "sd": "_sd",
    "n": "_n",
    "difference": "_difference",
    "low": "_difference_low",
    "high": "_difference_high",
    "differs": "_differs",
}
"""Of the columns, by what of a number they hold."""


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV with a header; what is not defined is blank. Empty without a row."""
    text: str = table.astype(object).map(_text).to_csv(index=False, lineterminator="\n")
    return text if len(table) else ""


def result_table(comparison: Comparison) -> pd.DataFrame:
    """One row a configuration and class, its macro mean, and one of all that is no number of a class; then the truth's.

    Numbers are means over seeds, ``…_sd`` their standard deviation and ``…_n`` the seeds that have them;
    ``…_difference`` is that to the reference with its interval, and ``…_differs`` whether that leaves out zero.
    """
    rows = [
        {
            "configuration": c.label,
            "class": name,
            "reference": comparison.reference.label,
            "seeds": len(c.outcomes),
            "seeds_compared": c.seeds_compared or None,
            "jobs": len(c.jobs),
            "mosaics": first.count,
            "patients": first.patients,
            "patients_holding": holding,
            "remark": c.remark,
            "score": comparison.score if name == ALL else None,
        }
        for c, first in ((c, c.outcomes[0]) for c in comparison.configurations)
        for name, holding in zip((*first.classes, MEAN, ALL), (*first.holding, first.patients, None), strict=True)
    ]
    wide = _wide(comparison).xs(FINAL_MAP, level="level").reset_index()
    table = pd.DataFrame(rows).merge(wide, on=["configuration", "class"])
    truth = (comparison.first.metrics.get("coherence") or {}).get("truth")
    if truth and not comparison.reference.remark:
        regions = {_column(comparison, key): truth.get(key) for key in REGION_NUMBERS}
        table = pd.concat([table, pd.DataFrame([{"configuration": TRUTH, "class": ALL} | regions])])
    return table


def level_table(comparison: Comparison) -> pd.DataFrame:
    """One row a configuration and level: macro means of the level's own map, and differences to the next coarser."""
    rows = [(c.label, level, factor) for c in comparison.configurations for level, factor in c.levels]
    table = pd.DataFrame(rows, columns=["configuration", "level", "factor"])
    wide = _wide(comparison).drop(index=FINAL_MAP, level="level").groupby(["configuration", "level"]).first()
    return table.merge(wide.dropna(axis=1, how="all"), on=["configuration", "level"])


def _wide(comparison: Comparison) -> pd.DataFrame:
    """The numbers by configuration, level and class, with a column a metric and what there is of it."""
    wide = comparison.numbers[list(SUFFIXES)].unstack("metric")
    wide.columns = pd.Index([_column(comparison, metric, SUFFIXES[of]) for of, metric in wide.columns])
    return wide


def _column(comparison: Comparison, metric: str, suffix: str = "") -> str:
    """Its name in the tables, where regions per area are per unit of the data."""
    if metric in METRICS:
        return metric + (suffix or "_mean")
    coherence = comparison.first.metrics.get("coherence") or {}
    unit = (coherence.get("prediction") or {}).get("unit", "mm2").lower()
    name = metric.replace("regions_per_area", f"regions_per_{unit}") + suffix
    return "seeds_that_reached_score" if name == "time_to_score_s_n" else name


def _text(value: Any) -> str:  # noqa: ANN401 (whatever JSON holds)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:.0f}" if value == int(value) else f"{value:.6g}"
