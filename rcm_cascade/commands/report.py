"""`rcm-cascade report`: the page and the tables of a sweep, from what its jobs left behind."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.commands.evaluate import evaluate
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.metrics import write_whole
from rcm_cascade.models.checkpoint import read_header
from rcm_cascade.report.comparison import Comparison, compare_configurations
from rcm_cascade.report.csv_tables import gradient_rows, level_rows, result_rows, to_csv
from rcm_cascade.report.galleries import galleries
from rcm_cascade.report.outcomes import EVALUATION, Outcome, is_evaluated, read_outcome
from rcm_cascade.report.page import render_page
from rcm_cascade.runs.config import parse_config
from rcm_cascade.runs.data import find_dataset
from rcm_cascade.runs.jobs import Job, Sweep, read_sweep
from rcm_cascade.runs.score import comparison_path

PAGE = "report.html"
RESULTS = "results.csv"
LEVELS = "levels.csv"
GRADIENTS = "gradients.csv"


def report(
    path: Path,
    *,
    reference: str | None = None,
    score: float | None = None,
    metric: Literal["sensitivity", "dice"] = "sensitivity",
) -> Comparison:
    """Writes `report.html`, `results.csv`, `levels.csv` and `gradients.csv` into a sweep's folder.

    Earlier ones are replaced. Finished jobs whose test split has not been scored are scored first; one that cannot
    be, fails alone.

    Args:
        path: the sweep's folder.
        reference: a configuration's label, or a part that it alone has; None: the first with a result.
        score: that `time to score` is measured to, in (0, 1]; None: 90 % of the reference's mean best validation score.
        metric: by whose mean the findings are told.

    Returns:
        What was written, in numbers; its ``left_out`` names the jobs without a result.

    Raises:
        InputError: if the folder is no sweep's, no job has a result, or ``reference`` or ``score`` is wrong.
    """
    if score is not None and not 0 < score <= 1:
        raise InputError(f"--score {score:g} is no mean sensitivity; give a number above 0 and up to 1")
    sweep = read_sweep(path)
    failures = _evaluate_missing(sweep.jobs)
    outcomes: dict[str, Outcome] = {}
    for job in sweep.jobs:
        if job.state == "finished" and job.name not in failures:
            try:
                outcomes[job.name] = read_outcome(job)
            except Exception as error:  # a job that fails, fails alone
                failures[job.name] = _tell_failure(error)
    _leave_out_other_classes(outcomes, failures)
    if not outcomes:
        raise InputError(f"{path} has no job with a result to report; {_first_reason(sweep, failures)}")
    classes = _class_table(list(outcomes.values()))
    comparison = compare_configurations(sweep, outcomes, failures, classes, reference=reference, score=score)
    write_whole(path / RESULTS, to_csv(result_rows(comparison)))
    write_whole(path / LEVELS, to_csv(level_rows(comparison)))
    write_whole(path / GRADIENTS, to_csv(gradient_rows(comparison)))
    write_whole(page_path(path), render_page(comparison, galleries(comparison, _read_picture), metric))
    for entry in comparison.left_out:
        print(f"left out: {entry.job.name} ({entry.state}): {entry.sentence}", file=sys.stderr)
    return comparison


def page_path(sweep: Path) -> Path:
    """Where a sweep's page is written."""
    return sweep / PAGE


def _evaluate_missing(jobs: Sequence[Job]) -> dict[str, str]:
    """Scores the finished jobs that have not been; returns why some could not be, by name."""
    failures: dict[str, str] = {}
    missing = [job for job in jobs if job.state == "finished" and not is_evaluated(job)]
    for i, job in enumerate(missing, start=1):
        if is_evaluated(job):  # by now: a twin that is linked to the same folder was scored
            continue
        print(f"scoring the test split of {job.name} ({i} of {len(missing)})", file=sys.stderr)
        try:
            _evaluate(job)
        except Exception as error:  # a job that fails, fails alone
            failures[job.name] = f"cannot be scored: {_tell_failure(error)}"
    return failures


def _tell_failure(error: Exception) -> str:
    """What became of a job, in a sentence; where that may not suffice to mend it, the traceback is printed."""
    if not isinstance(error, InputError):
        traceback.print_exception(error)
    return str(error) or type(error).__name__


def _first_reason(sweep: Sweep, failures: Mapping[str, str]) -> str:
    first = sweep.jobs[0]
    return f"its first, {first.name}: {failures.get(first.name) or first.sentence}"


def _evaluate(job: Job) -> None:
    try:
        plain = yaml.safe_load(job.folder.config.read_text(encoding="utf-8"))
        config = parse_config({key: value for key, value in plain.items() if key != "hash"})
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{job.folder.config} cannot be read ({type(error).__name__})") from error
    except InputError as error:
        raise InputError(f"{job.folder.config}: {error}") from error
    evaluate(job.folder.best, find_dataset(config.data), "test", None)
    if not is_evaluated(job):
        raise InputError(f"{job.folder.path / EVALUATION} was not written; is the checkpoint another run's?")


def _leave_out_other_classes(outcomes: dict[str, Outcome], failures: dict[str, str]) -> None:
    """A page has one class table: that of the first job with a result."""
    names = next((o.classes for o in outcomes.values()), ())
    for name in [name for name, outcome in outcomes.items() if outcome.classes != names]:
        failures[name] = f"has the classes {', '.join(outcomes.pop(name).classes)}, others have {', '.join(names)}"


def _class_table(outcomes: Sequence[Outcome]) -> ClassTable:
    """Names and colours as a checkpoint has them; without one, the paper's, or grey."""
    names = outcomes[0].classes
    for outcome in outcomes:
        try:
            table = read_header(outcome.job.folder.best).classes
        except InputError:
            continue
        if table.names == names:
            return table
    if names == RCM_CLASSES.names:
        return RCM_CLASSES
    return ClassTable(tuple(LabelClass(i, name, "#8c8c8c") for i, name in enumerate(names)))


def _read_picture(outcome: Outcome, number: int) -> Image.Image | None:
    path = comparison_path(outcome.job.folder.path / EVALUATION, number, outcome.names[number])
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError:  # missing or damaged
        return None
