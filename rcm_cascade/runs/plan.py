"""What a sweep is going to run: every combination of the values given, each in a folder named by them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rcm_cascade.files import write_json
from rcm_cascade.runs.jobs import SWEEP_FILE

ONLY_JOB: Final = "job"
"""Folder of the job of a sweep that has one."""

SELECTOR: Final = "sweep"
"""The config group that sweeps are chosen from."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep runs.

    Args:
        name: of the sweep.
        overrides: as given on the command line.
        jobs: by the name of the folder, in the order in which they run: the overrides that the job is composed with,
            without the choice of the sweep and Hydra's keys.
        fixed: keys that all jobs have the same value of; no folder is named after them.
    """

    name: str
    overrides: tuple[str, ...]
    jobs: Mapping[str, tuple[str, ...]]
    fixed: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Writes sweep.json, whole or not at all."""
        jobs = [{"folder": name, "overrides": list(overrides)} for name, overrides in self.jobs.items()]
        write_json(folder / SWEEP_FILE, {"name": self.name, "overrides": list(self.overrides), "jobs": jobs})


def split_jobs(overrides: Sequence[str], params: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The overrides of every job, as Hydra's basic sweeper splits them.

    Args:
        overrides: of the command line; values given as ``a,b,c`` are swept over.
        params: ``hydra.sweeper.params`` of the sweep chosen; the command line goes before them.

    Raises:
        HydraException: if an override is malformed.
    """
    values: dict[str, list[str]] = {}
    for given in OverridesParser.create().parse_overrides([*(f"{k}={v}" for k, v in params.items()), *overrides]):
        key = given.get_key_element()
        if not given.is_sweep_override():
            values[key] = [f"{key}={given.get_value_element_as_str()}"]
        elif given.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in given.sweep_string_iterator()]
        else:
            raise HydraException(f"{given.input_line}: give the values as {key}=a,b,c")
    return list(itertools.product(*values.values()))


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
    planned = {}
    for job in jobs:
        distinct = sorted(o for o in job if o.split("=", 1)[0] not in fixed)  # sorted, as Hydra does
        kept = tuple(o for o in job if o.split("=", 1)[0].lstrip("+") != SELECTOR and not o.startswith("hydra"))
        planned[as_name(",".join(distinct))] = kept
    return SweepPlan(name, tuple(overrides), planned, tuple(sorted(k.lstrip("+~") for k in fixed)))
