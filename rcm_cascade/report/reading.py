"""Reads what the jobs of a sweep came to; those that were not scored are scored first."""

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.models.checkpoint import read_header
from rcm_cascade.report.outcomes import Outcome, long_table
from rcm_cascade.runs.data import find_dataset
from rcm_cascade.runs.identity import read_config
from rcm_cascade.runs.jobs import Job
from rcm_cascade.runs.score import EVALUATION, evaluate, is_scored
from rcm_cascade.training.history import read_history


def read_outcomes(jobs: Sequence[Job]) -> tuple[dict[str, Outcome], dict[str, str]]:
    """The results of the finished jobs, scored where need be, and why some have none, both by the job's name.

    A page has one class table, that of the first job with a result: jobs of other classes have none. Where a sentence
    may not suffice to mend what went wrong, the traceback is printed.
    """
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    finished = [job for job in jobs if job.state == "finished"]
    for number, job in enumerate(finished, start=1):
        what = "cannot be scored: "
        try:
            if not is_scored(job.folder):
                print(f"scoring the test split of {job.name} ({number} of {len(finished)})", file=sys.stderr)
                _score(job)
            what = ""
            outcomes[job.name] = read_outcome(job)
        except Exception as error:  # a job that fails, fails alone
            if not isinstance(error, InputError):
                traceback.print_exception(error)
            failures[job.name] = what + (str(error) or type(error).__name__)
    names = next((o.classes for o in outcomes.values()), ())
    for name in [name for name, outcome in outcomes.items() if outcome.classes != names]:
        failures[name] = f"has the classes {', '.join(outcomes.pop(name).classes)}, others have {', '.join(names)}"
    return outcomes, failures


def read_outcome(job: Job) -> Outcome:
    """Reads the test result of a finished and evaluated job.

    Raises:
        InputError: if a file of it is malformed, or holds no mosaic.
    """
    folder = job.folder.path / EVALUATION
    classes, mosaics = read_results(folder / "confusions.json")
    if not mosaics:
        raise InputError(f"{folder / 'confusions.json'} holds no mosaic; delete {folder}, and it is made anew")
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        result = job.folder.read_result()
        history = read_history(job.folder.metrics) if job.folder.metrics.is_file() else []
        outcome = Outcome(job, classes, tuple(mosaics), metrics, result, history)
        long_table({"": [outcome]}, None)  # reads each number that a sweep does
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / 'metrics.json'}, {job.folder.result} or {job.folder.metrics} cannot be read "
            f"({type(error).__name__}: {error}); delete {folder}, and it is made anew, or train the job again"
        ) from error
    return outcome


def class_table(classes: Sequence[Mapping[str, Any]], checkpoint: Path) -> ClassTable:
    """Names and colours of metrics.json; of an older one, which has no colours, the checkpoint's, the paper's, or grey.

    Args:
        classes: ``name`` and maybe ``color`` of each.
        checkpoint: of the run that was scored; need not be there.
    """
    names, colors = [str(c["name"]) for c in classes], [str(c.get("color", "")) for c in classes]
    if "" in colors:
        table = read_header(checkpoint).classes if checkpoint.is_file() else RCM_CLASSES
        colors = [c.color for c in table.classes] if list(table.names) == names else ["#8c8c8c"] * len(names)
    return ClassTable(tuple(LabelClass(i, *both) for i, both in enumerate(zip(names, colors, strict=True))))


def _score(job: Job) -> None:
    evaluate(job.folder.best, find_dataset(read_config(job.folder.config).data), "test", None)
    if not is_scored(job.folder):
        raise InputError(f"{job.folder.path / EVALUATION} was not written; is the checkpoint another run's?")
