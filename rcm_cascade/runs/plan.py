"""Which jobs a sweep has, and in which folder each of them runs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from rcm_cascade.files import written_whole
from rcm_cascade.runs.jobs import SWEEP_FILE

ONLY_JOB: Final = "job"
"""Folder of the job of a sweep that has one."""

SELECTOR: Final = "sweep"
"""The config group that sweeps are chosen from."""


@dataclass(frozen=True)
class Job:
    """One configuration of a sweep.

    Args:
        folder: name below the sweep's folder.
        overrides: that the job is composed with, without the choice of the sweep and Hydra's own keys.
    """

    folder: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep runs.

    Args:
        name: of the sweep.
        overrides: as given on the command line.
        jobs: in the order in which they run.
        fixed: keys that all jobs have the same value of; no folder is named after them.
    """

    name: str
    overrides: tuple[str, ...]
    jobs: tuple[Job, ...]
    fixed: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Writes sweep.json, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "overrides": list(self.overrides),
            "jobs": [{"folder": job.folder, "overrides": list(job.overrides)} for job in self.jobs],
        }
        with written_whole(folder / SWEEP_FILE) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def split_jobs(overrides: Sequence[str], params: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The overrides of every job, as Hydra's basic sweeper splits them.

    Args:
        overrides: of the command line; values given as ``a,b,c`` are swept over.
        params: ``hydra.sweeper.params`` of the sweep chosen; the command line goes before them.

    Raises:
        HydraException: if an override is malformed.
    """
    parsed = OverridesParser.create().parse_overrides([*(f"{k}={v}" for k, v in params.items()), *overrides])
    return [tuple(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def plan_sweep(
    name: str, overrides: Sequence[str], jobs: Sequence[Sequence[str]], as_name: Callable[[str], str]
) -> SweepPlan:
    """Names each job's folder after what distinguishes it from the others.

    Args:
        name: of the sweep.
        overrides: as given on the command line.
        jobs: of `split_jobs`.
        as_name: makes a folder's name of overrides joined by commas.
    """
    values = [dict(o.split("=", 1) for o in job if "=" in o) for job in jobs]
    fixed = [k for k in values[0] if all(v.get(k) == values[0][k] for v in values)]
    planned = []
    for job in jobs:
        told = sorted(o for o in job if o.split("=", 1)[0] not in fixed)  # sorted, as Hydra does
        kept = tuple(o for o in job if o.split("=", 1)[0].lstrip("+") != SELECTOR and not o.startswith("hydra"))
        planned.append(Job(as_name(",".join(told)), kept))
    return SweepPlan(name, tuple(overrides), tuple(planned), tuple(sorted(k.lstrip("+~") for k in fixed)))
