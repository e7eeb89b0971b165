"""The jobs of a sweep: their names, overrides and states."""

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json
from rcm_cascade.runs.compose import as_typed, job_folder
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import effective, read_config
from rcm_cascade.training.history import read_history

SWEEP_FILE: Final = "sweep.json"
FAILURE_FILE: Final = "failure.json"

SELECTOR: Final = "sweep"
"""The config group that sweeps are chosen from."""

State = Literal["finished", "failed", "unfinished"]


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        name: of its folder, below the sweep's.
        folder: of the run; there may be none yet.
        overrides: its overrides: ``("model.levels=2", "seed=0")``.
        seed: of the run.
        state: finished, failed at its last attempt, or neither.
        sentence: how far a job came that is not finished; empty for one that is.
    """

    name: str
    folder: RunFolder
    overrides: tuple[str, ...]
    seed: int
    state: State
    sentence: str


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder.

    Args:
        path: of the folder.
        name: of the sweep.
        jobs: in the order of the sweep, at least one.
    """

    path: Path
    name: str
    jobs: tuple[Job, ...]


def read_sweep(path: Path) -> Sweep:
    """The jobs that a sweep's `sweep.json` names; without that file, the run folders that lie in the folder.

    In the second case the overrides are the keys in which the runs' configurations differ.

    Raises:
        InputError: if the folder is none, is that of one run, or holds no run; or if `sweep.json` is malformed.
    """
    record, name = path / SWEEP_FILE, path.resolve().name
    try:
        if record.is_file():
            content = json.loads(record.read_text(encoding="utf-8"))
            name = str(content.get("name") or name)
            overrides = {str(job["folder"]): tuple(map(str, job["overrides"])) for job in content["jobs"]}
        else:
            overrides = _derive_overrides(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{record} is no record of a sweep ({type(error).__name__}: {error}); the sweep's command, given again, "
            "writes it anew"
        ) from error
    if not overrides:
        fault = f"holds neither {SWEEP_FILE} nor run folders" if path.is_dir() else "is no folder"
        if (run := RunFolder(path)).config.is_file():
            fault = f"is the folder of one run, whose page is {run.report}"
        raise InputError(
            f"{path} {fault}; give the folder of a sweep, such as the one that `rcm-cascade train --multirun` writes"
        )
    return Sweep(path, name, tuple(_job(path, *job) for job in overrides.items()))


def _derive_overrides(path: Path) -> dict[str, tuple[str, ...]]:
    """What distinguishes each of the runs in a folder; nothing for a run whose configuration cannot be read."""
    configs: dict[str, dict[str, str]] = {}
    for file in sorted(path.glob("*/config.yaml")):
        configs[file.parent.name] = {}
        with suppress(InputError):
            values = effective(read_config(file)).items()
            configs[file.parent.name] = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values}
    keys = {key: None for config in configs.values() for key in config}  # a dictionary keeps their order
    differing = [key for key in keys if len({config.get(key) for config in configs.values() if config}) > 1]
    return {name: tuple(f"{k}={c[k]}" for k in differing if k in c) for name, c in configs.items()}


def _job(path: Path, name: str, overrides: tuple[str, ...]) -> Job:
    folder, seed = RunFolder(path / name), 0
    with suppress(InputError):  # a job that has not begun, or whose folder is damaged
        seed = read_config(folder.config).seed
    given = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override).get("seed", "")
    return Job(name, folder, overrides, int(given) if given.isdecimal() else seed, *_state(folder))


def _state(folder: RunFolder) -> tuple[State, str]:
    if folder.result.is_file():
        return "finished", ""
    failure = folder.path / FAILURE_FILE
    if failure.is_file():
        return "failed", str(json.loads(failure.read_text(encoding="utf-8"))["error"])
    if not folder.metrics.is_file():
        return "unfinished", "nothing trained yet"
    epochs = sum("time/epoch_s" in row for row in read_history(folder.metrics))
    return "unfinished", f"interrupted or at work, with {epochs} epoch{'' if epochs == 1 else 's'} done"


def sweep_params(params: Mapping[str, Any]) -> list[str]:
    """``hydra.sweeper.params`` as overrides."""
    return as_typed([f"{key}={value}" for key, value in params.items()], sweep=True)


def split_jobs(overrides: Sequence[str], params: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The overrides of every job of a sweep that is to be run, as Hydra's basic sweeper splits them.

    Args:
        overrides: of the command line; values given as ``a,b,c`` are swept over.
        params: ``hydra.sweeper.params`` of the sweep chosen; the command line goes before them.

    Raises:
        HydraException: if an override is malformed.
    """
    values: dict[str, list[str]] = {}
    for given in OverridesParser.create().parse_overrides([*sweep_params(params), *overrides]):
        key = given.get_key_element()
        if not given.is_sweep_override():
            values[key] = [f"{key}={given.get_value_element_as_str()}"]
        elif given.is_discrete_sweep():
            values[key] = [f"{key}={value}" for value in given.sweep_string_iterator()]
        else:
            raise HydraException(f"{given.input_line}: give the values as {key}=a,b,c")
    return list(itertools.product(*values.values()))


def name_jobs(jobs: Sequence[Sequence[str]]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Names each job's folder after what distinguishes it from the others.

    Args:
        jobs: of `split_jobs`.

    Returns:
        By the name of the folder, in the order in which they run, the overrides that each job is composed with, without
        the choice of the sweep and Hydra's keys; and the keys of which all jobs have the same value.

    Raises:
        InputError: if two would have the same name.
    """
    values = [dict(o.split("=", 1) for o in job if "=" in o) for job in jobs]
    fixed = [k for k in values[0] if all(v.get(k) == values[0][k] for v in values)]
    named = {}
    for job in jobs:
        distinct = sorted(o for o in job if o.split("=", 1)[0] not in fixed)  # sorted, as Hydra does
        kept = tuple(o for o in job if o.split("=", 1)[0].lstrip("+") != SELECTOR and not o.startswith("hydra"))
        name = job_folder(",".join(distinct))
        if name in named:
            raise InputError(
                f"two jobs of the sweep would have the folder {name}, which has only the letters, digits and =.,+- of "
                "their values in its name; rename the files or folders that they read, or train them one at a time"
            )
        named[name] = kept
    return named, sorted(k.lstrip("+~") for k in fixed)


def write_sweep(folder: Path, overrides: Sequence[str], jobs: Mapping[str, Sequence[str]]) -> None:
    """Writes sweep.json, whole or not at all: what was given on the command line, and the jobs of `name_jobs`."""
    plain = [{"folder": name, "overrides": list(overrides)} for name, overrides in jobs.items()]
    write_json(folder / SWEEP_FILE, {"name": folder.name, "overrides": list(overrides), "jobs": plain})
