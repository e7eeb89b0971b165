"""Self-contained HTML pages: one for an evaluation, one for a training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.metrics import MosaicResult, per_mosaic_rows, summarise, write_metrics, write_whole
from rcm_cascade.evaluate.origin import CHECKPOINT_KEY
from rcm_cascade.pictures.png import png_data_uri, save_png
from rcm_cascade.report.figures import (
    History,
    comparison,
    confusion_picture,
    gradient_curves,
    loss_curves,
    sensitivity_curves,
)
from rcm_cascade.report.parts import cell, result_parts
from rcm_cascade.report.table import SYNTHETIC_NOTE, decimal, has_paper_row

__all__ = ["Section", "comparison", "confusion_picture", "write_evaluation", "write_run_report"]

Comparisons = Sequence[tuple[str, Image.Image]]
"""Caption and picture."""


SMOOTHED = " Thin lines, where shown, are the values themselves; thick ones running means."


@dataclass(frozen=True)
class Section:
    """One result in a run's report: of the validation or the test set.

    Args:
        title: heading, such as ``"Test"``.
        summary: as `summarise` gives it, or ``None`` where there is only text.
        classes: the class table of the summary.
        comparisons: captions and pictures.
        text: a sentence or two, plain text.
    """

    title: str
    summary: Mapping[str, Any] | None
    classes: ClassTable
    comparisons: Comparisons = field(default=())
    text: str = ""


def write_evaluation(
    out: Path,
    *,
    results: Sequence[MosaicResult],
    classes: ClassTable,
    comparisons: Comparisons,
    title: str,
    facts: Mapping[str, str],
    synthetic: bool,
    calibration: Mapping[str, Any] | None = None,
    checkpoint_sha256: str | None = None,
) -> dict[str, Any]:
    """Writes the files of `write_metrics`, `confusion.png` and `report.html`; the folder is made if need be.

    Args:
        out: the folder; files of these names are replaced, each whole or not at all.
        results: one a mosaic, at least one.
        classes: the class table.
        comparisons: captions and pictures, as `comparison` draws them.
        title: of the page.
        facts: what was evaluated (checkpoint, data, split, working pixel size, …), shown in this order.
        synthetic: whether the mosaics are phantoms; the page then says so first.
        calibration: of `measure_calibration`; ``None``: not measured.
        checkpoint_sha256: of the checkpoint that was scored, as `origin.digest` gives it; ``None``: of more than one.

    Returns:
        The summary that `metrics.json` holds.

    Raises:
        ValueError: without a result.
    """
    summary = summarise(results, classes, synthetic=synthetic, calibration=calibration)
    if checkpoint_sha256 is not None:
        summary[CHECKPOINT_KEY] = checkpoint_sha256
    write_metrics(out, summary, results, classes)
    save_png(confusion_picture(np.array(summary["confusion"], np.int64), classes), out / "confusion.png")
    page = _render(
        "evaluation.html",
        title=title,
        synthetic=synthetic,
        facts=facts,
        result=result_parts(summary, classes),
        mosaics=[_mosaic_row(row) for row in per_mosaic_rows(results, classes)],
        comparisons=_sources(comparisons),
    )
    write_whole(out / "report.html", page)
    return summary


def write_run_report(
    run: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    architecture: Sequence[Mapping[str, Any]],
    history: History,
    batch_picture: Image.Image | None,
    sections: Sequence[Section],
    synthetic: bool,
) -> Path:
    """Writes a run folder's `report.html`.

    Args:
        run: the run folder; made if need be.
        title: of the page.
        facts: what was run, shown in this order.
        architecture: the table of levels, coarse to fine; the first row's keys are the headings.
        history: rows of `metrics.csv`: ``step`` or ``epoch``, ``train/loss``, ``train/loss_level1`` …,
            ``train/grad_norm_level1`` …, ``val/mean_sensitivity``, ``val/sensitivity_<class>``; cells may be empty.
        batch_picture: a batch before and after augmentation, or ``None``.
        sections: results, in the order shown. If one is of phantoms the page says so first.
        synthetic: whether the mosaics are phantoms; the page then says so first.

    Returns:
        The page's path.
    """
    classes = sections[0].classes if sections else None
    page = _render(
        "run.html",
        title=title,
        synthetic=synthetic,
        facts=facts,
        level_columns=list(architecture[0]) if architecture else [],
        levels=[[cell(value) for value in row.values()] for row in architecture],
        curves=_curves(history, classes),
        batch=None if batch_picture is None else png_data_uri(batch_picture),
        sections=[
            {
                "title": s.title,
                "text": s.text,
                "result": None if s.summary is None else result_parts(s.summary, s.classes),
                "comparisons": _sources(s.comparisons),
            }
            for s in sections
        ],
        paper=any(has_paper_row(s.classes) for s in sections if s.summary is not None),
    )
    run.mkdir(parents=True, exist_ok=True)
    write_whole(run / "report.html", page)
    return run / "report.html"


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rcm_cascade.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        **values, version=version("rcm-cascade"), synthetic_note=SYNTHETIC_NOTE
    )


def _mosaic_row(row: Mapping[str, str]) -> dict[str, str]:
    def rounded(key: str) -> str:
        return decimal(float(row[key]) if row[key] else None)

    return {
        "mosaic": row["mosaic"],
        "patient": row["patient"],
        "site": row["site"],
        "labelled": cell(int(row["labelled_pixels"])),
        "accuracy": rounded("pixel_accuracy"),
        "sensitivity": rounded("mean_sensitivity"),
        "specificity": rounded("mean_specificity"),
        "dice": rounded("mean_dice"),
    }


def _curves(history: History, classes: ClassTable | None) -> list[dict[str, Any]]:
    drawn = [
        (loss_curves(history), False, "Training loss, in all and at each level." + SMOOTHED),
        (
            gradient_curves(history),
            False,
            "Norm of the loss’s gradient with respect to each level’s weights." + SMOOTHED,
        ),
        (
            None if classes is None else sensitivity_curves(history, classes),
            True,
            "Sensitivity on the validation regions by class, and its mean, by which the best checkpoint is chosen.",
        ),
    ]
    return [{"source": s, "wide": wide, "caption": caption} for s, wide, caption in drawn if s is not None]


def _sources(comparisons: Comparisons) -> list[tuple[str, str]]:
    return [(caption, png_data_uri(picture)) for caption, picture in comparisons]
