"""Self-contained HTML pages, made from the files in the folders, so that they can be written anew at any time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade import __version__
from rcm_cascade.annotate.starter import STARTER
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.manifest import SplitName, read_dataset
from rcm_cascade.data.splits import describe_split
from rcm_cascade.evaluate.agreement import mean_costs, read_costs
from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS
from rcm_cascade.evaluate.calibration import pixels_per_mosaic
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.files import write_json, write_text
from rcm_cascade.models.checkpoint import read_header
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.pictures.plot import confusion_picture
from rcm_cascade.pictures.png import png_data_uri, save_png
from rcm_cascade.report import figures, tables, text
from rcm_cascade.report.compare import Comparison, find
from rcm_cascade.report.folds import describe_folds
from rcm_cascade.report.learning import MONITORED, curve, training_seconds
from rcm_cascade.report.outcomes import ALL, FINAL_MAP, MEAN, Number
from rcm_cascade.report.reading import class_table
from rcm_cascade.runs import score
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.predictions import score_predictions
from rcm_cascade.runs.score import EVALUATION, comparison_path
from rcm_cascade.training.history import read_history
from rcm_cascade.yaml_file import read_yaml

PAGE: Final = "report.html"

NO_INTERVAL: Final = "×"
"""In place of an interval, where a difference has none."""

NOT_DIFFERENT: Final = "not distinguishable from zero"


@dataclass(frozen=True)
class Form:
    """How a number is written, and its differences.

    Args:
        text: of a number.
        scale: differences are multiplied by it.
        digits: decimals of differences.
        unit: of differences.
        spread: whether its standard deviation is shown.
    """

    text: Callable[[float], str] = "{:.3f}".format
    scale: float = 1.0
    digits: int = 3
    unit: str = ""
    spread: bool = True


FORMS: Final[Mapping[str, Form]] = {
    "regions_per_area": Form("{:.1f}".format, digits=1),
    "small_regions_share": Form(text.percent, 100.0, 1, " pp"),
    "small_area_share": Form(text.percent, 100.0, 1, " pp"),
    "parameters": Form(lambda value: text.cell(round(value)), spread=False),
    "gflop_per_mp": Form("{:.1f}".format, spread=False),
    "train_seconds": Form(text.duration),
    "time_to_score_s": Form(text.duration),
    "epochs_to_score": Form("{:.1f}".format),
}
"""By metric; all others as `Form` does by default."""


def write_evaluation_page(folder: Path) -> Path:
    """Writes report.html, confusion.png, and the result table as per_class.csv and per_class.tex.

    Args:
        folder: into which `rcm_cascade.runs.score.score` wrote its files.
    """
    section = _section(folder, "Evaluation")
    summary, classes = section["summary"], section["classes"]
    numbers: str = tables.to_frame(summary).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_text(folder / "per_class.csv", numbers)
    write_text(folder / "per_class.tex", tables.to_latex(summary, classes))
    save_png(confusion_picture(np.array(summary["confusion"], np.int64), classes), folder / "confusion.png")
    facts = summary.get("facts", {})
    title = summary.get("title", f"Evaluation {folder.name}")
    page = render("evaluation.html", title=title, synthetic=summary["synthetic"], facts=facts, result=section)
    write_text(folder / PAGE, page)
    return folder / PAGE


def write_run_page(path: Path) -> Path:
    """Writes the report.html of a finished run, and those of its evaluation and validation.

    Args:
        path: the run's folder.
    """
    folder = RunFolder(path)
    header, result, history = read_header(folder.best), folder.read_result(), read_history(folder.metrics)
    sections = []
    for name, title in ((EVALUATION, "Evaluation on the test split"), ("validation", "Validation mosaics")):
        if (path / name / "metrics.json").is_file():
            write_evaluation_page(path / name)
            sections.append(_section(path / name, title))
    page = render(
        "run.html",
        title=f"Run {path.name}",
        synthetic=header.synthetic,
        header=header,
        result=result,
        config=read_yaml(folder.config),
        seconds=training_seconds(history),
        starter=STARTER,
        torch_version=str(torch.__version__),
        describe_split=describe_split,
        levels=[vars(level) for level in summarise_network(header.model)],
        loss=figures.loss_curves(history),
        gradients=figures.gradient_curves(history),
        sensitivity=figures.sensitivity_curves(history, header.classes),
        batch=_picture(folder.batch) if folder.batch.is_file() else None,
        sections=sections,
    )
    write_text(folder.report, page)
    return folder.report


def render_sweep(comparison: Comparison, galleries: Sequence[Mapping[str, Any]], metric: str) -> str:
    """The page of a sweep as HTML; the same input gives the same bytes.

    Args:
        comparison: of the sweep.
        galleries: the pictures to show, as `rcm_cascade.report.sweep.galleries` gives them.
        metric: a name of `METRICS`: whose mean the findings compare.
    """
    drawn = figures.looks([c.label for c in comparison.configurations], comparison.reference.label)
    coherence = comparison.first.metrics.get("coherence") or {}
    truth = coherence.get("truth")
    return render(
        "sweep.html",
        title=f"Sweep {comparison.sweep.name}",
        synthetic=comparison.synthetic,
        **find(comparison, metric),
        colors={look.label: look.color for look in drawn},
        describe_folds=describe_folds,
        sampled=text.cell(pixels_per_mosaic(comparison.first.count)),
        truth=None if comparison.reference.remark else truth,
        unit=_units(truth or {"unit": "mm2", "small_below": 0.05}),
        figures=_sweep_figures(comparison, drawn, metric, truth or {}),
        confusions=[
            (c, png_data_uri(confusion_picture(c.confusion, comparison.classes))) for c in comparison.configurations
        ],
        folds=comparison.table[(comparison.table["fold"] != ALL) & (comparison.table["class"] == MEAN)],
        galleries=galleries,
        show=lambda c, key, name=MEAN, level=0: show(comparison.number(c, key, name, level), key),
        has=lambda *keys: any(comparison.number(c, k, ALL).n for c in comparison.configurations for k in keys),
    )


def show(number: Number, metric: str) -> dict[str, Any]:
    """A number as a cell of the page: ``text``, ``difference``, ``interval``, and whether it ``differs`` from zero."""
    form = FORMS.get(metric, Form())
    written = text.UNDEFINED if number.mean is None else form.text(number.mean)
    if number.sd is not None and form.spread:
        written += f" ± {form.text(number.sd)}"
    difference = interval = ""
    if number.patients is not None:  # it was compared
        value, low, high = (None if v is None else form.scale * v for v in number[3:6])
        difference = text.signed(value, form.digits) + form.unit
        if value is not None:
            interval = NO_INTERVAL if low is None or high is None else text.interval_text((low, high), form.digits)
    return {"text": written, "difference": difference, "interval": interval, "differs": number.differs}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rcm_cascade.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: function for name, function in vars(text).items() if callable(function)}
    environment.globals |= {
        "version": __version__,
        "synthetic_note": text.SYNTHETIC_NOTE,
        "units": _units,
        "tables": tables,
        "metrics": METRICS,
        "fewest_patients": MIN_PATIENTS,
        "no_interval": NO_INTERVAL,
        "not_different": NOT_DIFFERENT,
    }
    return environment


def render(template: str, **values: object) -> str:
    """A page from a template and what it shows; text is escaped."""
    return _environment().get_template(template).render(values)


def _section(folder: Path, title: str) -> dict[str, Any]:
    """What a page shows of one evaluation."""
    summary = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    classes = class_table(summary["classes"], RunFolder(folder.parent).best)
    mosaics = pd.read_csv(folder / "per_mosaic.csv", dtype=str, keep_default_na=False).to_dict("records")
    paths = [(row["mosaic"], comparison_path(folder, i, row["mosaic"])) for i, row in enumerate(mosaics)]
    calibration, matrix = summary.get("calibration"), np.array(summary["confusion"], np.int64)
    return {
        "title": title,
        "summary": summary,
        "classes": classes,
        "paper": tables.has_paper_row(classes),
        "mosaics": mosaics,
        "confusion": png_data_uri(confusion_picture(matrix, classes)),
        "taken_for": _taken_for(matrix, classes),
        "reliability": figures.reliability_picture(calibration) if calibration and calibration["pixels"] else None,
        "comparisons": [(name, _picture(path)) for name, path in paths if path.is_file()],
    }


def _taken_for(matrix: NDArray[np.int64], classes: ClassTable) -> list[dict[str, Any]]:
    """Of each true class its pixels, the share found, and the most frequent wrong classes with theirs, most first."""
    rows = []
    for true, counts, shares in zip(classes.classes, matrix.tolist(), row_shares(matrix).tolist(), strict=True):
        wrong = [given for given in classes.classes if given is not true and counts[given.id]]
        wrong.sort(key=lambda given: -counts[given.id])
        others = [(given, shares[given.id]) for given in wrong[:2]]
        found = shares[true.id] if sum(counts) else None
        rows.append({"of": true, "labelled": sum(counts), "found": found, "wrong": others})
    return rows


def _units(regions: Mapping[str, Any]) -> tuple[str, str]:
    """Of area, and what is small, from `pool_coherence`."""
    if regions["unit"] == "mm2":
        return "mm²", f"{regions['small_below']:g} mm²"
    return "megapixel", f"{text.cell(regions['small_below'])} px"


def _picture(path: Path) -> str:
    with Image.open(path) as picture:
        return png_data_uri(picture)


def _sweep_figures(
    comparison: Comparison, drawn: Sequence[figures.Look], metric: str, truth: Mapping[str, Any]
) -> dict[str, str | None]:
    configurations = comparison.configurations
    alike = [look for look, c in zip(drawn, configurations, strict=True) if not c.remark]
    others = [look for look in alike if look.label != comparison.reference.label]
    numbers = comparison.numbers.xs(FINAL_MAP, level="level").reset_index()
    differences = numbers[numbers["metric"] == metric].rename(columns={"class": "panel", "difference": "value"})
    titles = {
        "regions_per_area": f"regions per {_units(truth)[0] if truth else 'mm²'}",
        "small_regions_share": "share of regions that are small",
        "small_area_share": "share of area in small regions",
    }
    regions = numbers.assign(
        panel=numbers["metric"].map(titles),
        value=numbers["mean"],
        low=numbers["mean"] - numbers["sd"],
        high=numbers["mean"] + numbers["sd"],
    )
    curves = {
        key: {c.label: [curve(o.history, key) for o in c.outcomes] for c in configurations if not c.remark}
        for key in (MONITORED, "train/loss")
    }
    gradients = comparison.gradients
    drawable = gradients.index.isin([look.label for look in alike], level="configuration")
    title = f"difference of {METRICS[metric].label} to {comparison.reference.label}"
    zeros = dict.fromkeys((MEAN, *comparison.classes.names), 0.0)
    return {
        "differences": figures.dot_figure(differences, others, zeros, title),
        "regions": figures.dot_figure(regions, alike, {titles[key]: truth.get(key) for key in titles}),
        "learning": figures.learning_figure(curves[MONITORED], drawn, "validation mean sensitivity"),
        "loss": figures.learning_figure(curves["train/loss"], drawn, "training loss"),
        "gradients": figures.gradient_figure(gradients[drawable]),
    }


def evaluate(
    checkpoint: Path,
    root: Path,
    part: SplitName,
    out: Path | None,
    split_file: Path | None = None,
    costs: Path | None = None,
) -> tuple[dict[str, Any], ClassTable, Path]:
    """Scores as `rcm_cascade.runs.score.evaluate` does, and writes the page, in a run folder that of the run, too.

    Costs of mistakes, as `rcm_cascade.evaluate.agreement.read_costs` has them, stand beside the plain numbers.
    """
    table = None if costs is None else read_costs(costs, read_header(checkpoint).classes)
    summary, classes, folder = score.evaluate(checkpoint, root, part, out, split_file)
    _add_costs(summary, classes, folder, costs, table)
    run = RunFolder(checkpoint.resolve().parent.parent)
    if folder.resolve() == run.path / score.EVALUATION and run.result.is_file():
        write_run_page(run.path)
    else:
        write_evaluation_page(folder)
    return summary, classes, folder


def evaluate_predictions(
    predictions: Path,
    root: Path,
    part: SplitName,
    out: Path,
    split_file: Path | None = None,
    checkpoint: Path | None = None,
    costs: Path | None = None,
) -> tuple[dict[str, Any], ClassTable, Path]:
    """Scores label maps as `rcm_cascade.runs.predictions` does, paired with a checkpoint's where one is given.

    The checkpoint's own evaluation is written to ``ours/`` in the folder.
    """
    table = None if costs is None else read_costs(costs, read_dataset(root).classes)
    ours = None if checkpoint is None else evaluate(checkpoint, root, part, out / "ours", split_file, costs)[2]
    summary, classes = score_predictions(predictions, root, part, out, split_file, ours)
    _add_costs(summary, classes, out, costs, table)
    write_evaluation_page(out)
    return summary, classes, out


def _add_costs(
    summary: dict[str, Any], classes: ClassTable, folder: Path, costs: Path | None, table: NDArray[np.float64] | None
) -> None:
    """Writes what mistakes cost into metrics.json, beside the plain numbers."""
    if costs is None or table is None:
        return
    results = read_results(folder / "confusions.json")[1]
    found = mean_costs([r.confusion for r in results], [r.patient for r in results], table, classes)
    summary["costs"] = {"file": costs.name} | found
    for each in (*found["classes"], found["mean"]):
        if each["cost"] is not None:
            interval = " ({:.3f} to {:.3f})".format(*each["cost_ci"]) if each["cost_ci"] else ""
            summary["facts"][f"cost a pixel, {each['name']}"] = f"{each['cost']:.3f}{interval}, by {costs.name}"
    write_json(folder / "metrics.json", summary)
