"""The page and the tables of a sweep, from what its jobs left behind."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.coherence import REGION_NUMBERS
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import write_text
from rcm_cascade.pictures.comparison import PANEL_PX
from rcm_cascade.pictures.maps import colorize, shrink_factor, shrink_labels
from rcm_cascade.pictures.png import png_data_uri
from rcm_cascade.report.compare import Comparison, Configuration, compare_configurations
from rcm_cascade.report.folds import pool_folds
from rcm_cascade.report.outcomes import ALL, FINAL_MAP, MEAN
from rcm_cascade.report.pages import PAGE, render_sweep, show
from rcm_cascade.report.reading import class_table, read_outcomes
from rcm_cascade.report.tables import latex
from rcm_cascade.runs.jobs import read_sweep
from rcm_cascade.runs.score import comparison_path, prediction_path

RESULTS = "results.csv"
LEVELS = "levels.csv"
GRADIENTS = "gradients.csv"
LATEX = "table.tex"

WIDEST: Final = 1500
"""Px of a picture on the page, which shows it at two thirds of that; mosaics are noise and cost a megabyte each."""

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


def write_report(
    path: Path, *, reference: str | None = None, score: float | None = None, metric: str = "sensitivity"
) -> Comparison:
    """Writes `report.html`, `results.csv`, `levels.csv`, `gradients.csv` and `table.tex` into a sweep's folder.

    Earlier ones are replaced. Finished jobs whose test split has not been scored are scored first; one that cannot
    be, fails alone. Jobs that differ in ``data.fold`` alone are pooled.

    Args:
        path: the sweep's folder.
        reference: a configuration's label, or a part that it alone has; None: the first with a result.
        score: that `time to score` is measured to, in (0, 1]; None: 90 % of the reference's mean best validation score.
        metric: a name of `METRICS`: whose mean the findings compare.

    Returns:
        What was written, in numbers; its ``left_out`` names the jobs without a result.

    Raises:
        InputError: if the folder is no sweep's, no job has a result, or an option is wrong.
    """
    if score is not None and not 0 < score <= 1:
        raise InputError(f"--score {score:g} is no mean sensitivity; give a number above 0 and up to 1")
    if metric not in METRICS:
        raise InputError(f"--metric {metric} is none; give one of {', '.join(METRICS)}")
    sweep = read_sweep(path)
    outcomes, failures = read_outcomes(sweep.jobs)
    if outcomes:
        first = next(iter(outcomes.values()))
        classes = class_table(first.metrics["classes"], first.job.folder.best)
        sweep, outcomes, failures = pool_folds(sweep, outcomes, failures, classes)
    if not outcomes:
        job = sweep.jobs[0]
        reason = failures.get(job.name) or job.sentence
        raise InputError(f"{path} has no job with a result to report; its first, {job.name}: {reason}")
    comparison = compare_configurations(sweep, outcomes, failures, classes, reference=reference, score=score)
    write_text(path / RESULTS, to_csv(result_table(comparison)))
    write_text(path / LEVELS, to_csv(level_table(comparison)))
    write_text(path / GRADIENTS, to_csv(comparison.gradients.reset_index()))
    write_text(path / LATEX, to_latex(comparison))
    write_text(path / PAGE, render_sweep(comparison, list(galleries(comparison)), metric))
    for entry in comparison.left_out:
        print(f"left out: {entry.job.name} ({entry.state}): {entry.sentence}", file=sys.stderr)
    return comparison


def to_latex(comparison: Comparison) -> str:
    """Macro means of each configuration, and below them their differences to the reference, in LaTeX."""
    rows = []
    for c in comparison.configurations:
        cells = {metric.label: show(comparison.number(c, key), key) for key, metric in METRICS.items()}
        rows.append({"configuration": c.label} | {label: cell["text"] for label, cell in cells.items()})
        if c.seeds_compared:
            texts = {k: " ".join(filter(None, (v["difference"], v["interval"]))) for k, v in cells.items()}
            rows.append({"configuration": "difference"} | texts)
    caption = f"{comparison.reference.tested}; mean ± standard deviation between seeds"
    return latex(pd.DataFrame(rows), caption)


def galleries(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The mosaics on which the reference's first seed has the lowest and the highest mean Dice.

    Every configuration is shown by its first seed: the reference by its picture of image, truth and prediction, the
    others by their predictions. What is no longer there is left out, a mosaic of which the reference has no picture,
    too.

    Yields:
        ``rank`` (``"worst"``, ``"best"`` or ``"only"``), ``mosaic``, ``title`` and ``source`` of the reference, and
        ``others``: title and source of each.
    """
    first = comparison.first
    scores = METRICS["dice"].with_mean(first.confusions)[:, -1].tolist()
    ranked = sorted((score, name) for score, name in zip(scores, first.names, strict=True) if not np.isnan(score))
    ends = [("worst", ranked[0]), ("best", ranked[-1])] if len(ranked) > 1 else [("only", only) for only in ranked]
    for rank, (_, mosaic) in ends:
        folder, number = first.place(first.names.index(mosaic))
        try:
            with Image.open(comparison_path(folder, number, mosaic)) as picture:
                picture.thumbnail((WIDEST, picture.height), Image.Resampling.LANCZOS)
                source = png_data_uri(picture)
        except OSError:  # missing or damaged
            continue
        shown = [(c, _prediction(c, comparison, mosaic)) for c in comparison.compared]
        others = [(_title(c, mosaic), image) for c, image in shown if image is not None]
        title = _title(comparison.reference, mosaic)
        yield {"rank": rank, "mosaic": mosaic, "title": title, "source": source, "others": others}


def _prediction(configuration: Configuration, comparison: Comparison, mosaic: str) -> str | None:
    outcome = configuration.outcomes[0]
    if mosaic not in outcome.names:
        return None
    folder, number = outcome.place(outcome.names.index(mosaic))
    path = prediction_path(folder, number, mosaic)
    labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if labels is None:
        return None
    small = shrink_labels(np.asarray(labels, np.uint8), shrink_factor((labels.shape[0], labels.shape[1]), PANEL_PX))
    return png_data_uri(colorize(small, comparison.classes))


def _title(configuration: Configuration, mosaic: str) -> str:
    outcome = configuration.outcomes[0]
    score = METRICS["dice"].with_mean(outcome.confusions[outcome.names.index(mosaic)])[-1]
    return f"{configuration.label}, seed {outcome.job.seed}: mean Dice {score:.2f}"


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
    wide: Any = comparison.numbers[list(SUFFIXES)].unstack("metric")
    wide.columns = pd.Index([_column(comparison, metric, SUFFIXES[of]) for of, metric in wide.columns])
    table: pd.DataFrame = wide
    return table


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
