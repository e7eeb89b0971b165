"""The folds of a cross-validation as a sweep: what the folds of one design and seed gave together is one job."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from rcm_cascade.classes import ClassTable
from rcm_cascade.commands.out_of_fold import pool_mosaics
from rcm_cascade.evaluate.metrics import summarise
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.jobs import Job, State, Sweep

_FOLD: Final = re.compile(r"\+{0,2}data\.split_file=.*")
"""The override by which a fold differs from another of the same design and seed."""

_NUMBER: Final = re.compile(r"fold\d+")
"""In the names of their folders."""


def pool_jobs(
    sweep: Sweep, outcomes: Mapping[str, Outcome], failures: Mapping[str, str], classes: ClassTable
) -> tuple[Sweep, dict[str, Outcome], dict[str, str]]:
    """A job of each design and seed in place of those of its folds.

    Its outcome has each mosaic as the fold that tests it gave it, and regions and levels from these counts. It has no
    curves, pictures and calibration, which folds do not share. Where a fold has no outcome, there is none.

    Args:
        sweep: of the folds.
        outcomes: by the name of the job.
        failures: by the name of the job: why a finished one has no outcome.
        classes: of the outcomes.

    Returns:
        The same three, of the pooled jobs.
    """
    groups: dict[tuple[tuple[str, ...], int], list[Job]] = {}
    for job in sweep.jobs:
        told = tuple(o for o in job.overrides if not _FOLD.fullmatch(o))
        groups.setdefault((told, job.seed), []).append(job)
    jobs, pooled, why = [], {}, {}
    for (told, seed), folds in groups.items():
        name = _NUMBER.sub("folds", folds[0].name)
        lacking = [job for job in folds if job.name not in outcomes]
        state: State = next((job.state for job in lacking if job.state != "finished"), "finished")
        sentence = "; ".join(f"{job.name}: {failures.get(job.name) or job.sentence}" for job in lacking)
        job = Job(name, RunFolder(sweep.path / name), told, seed, state, sentence)
        jobs.append(job)
        if lacking and state == "finished":
            why[name] = sentence
        elif not lacking:
            pooled[name] = _pool(job, [outcomes[fold.name] for fold in folds], classes)
    return replace(sweep, jobs=tuple(jobs)), pooled, why


def _pool(job: Job, folds: Sequence[Outcome], classes: ClassTable) -> Outcome:
    mosaics = pool_mosaics([fold.mosaics for fold in folds])
    synthetic = any(bool(fold.metrics.get("synthetic")) for fold in folds)
    metrics = summarise(mosaics, classes, synthetic=synthetic, draws=1)
    return Outcome(job, folds[0].classes, tuple(mosaics), metrics, folds[0].result, [])
