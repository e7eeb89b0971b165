"""Scores a checkpoint against a data set's label maps, and writes the page that shows it."""

from pathlib import Path
from typing import Any

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.manifest import SplitName
from rcm_cascade.report.pages import write_evaluation_page, write_run_page
from rcm_cascade.runs import score
from rcm_cascade.runs.folder import RunFolder


def evaluate(
    checkpoint: Path, root: Path, part: SplitName, out: Path | None, split_file: Path | None = None
) -> tuple[dict[str, Any], ClassTable, Path]:
    """Scores as `rcm_cascade.runs.score.evaluate` does, and writes the page, in a run folder that of the run, too."""
    summary, classes, folder = score.evaluate(checkpoint, root, part, out, split_file)
    run = RunFolder(checkpoint.resolve().parent.parent)
    if folder.resolve() == run.path / score.EVALUATION and run.result.is_file():
        write_run_page(run.path)
    else:
        write_evaluation_page(folder)
    return summary, classes, folder
