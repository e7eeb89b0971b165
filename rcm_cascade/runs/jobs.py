"""The jobs of a sweep: which there are, what each was told, and how far each got."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from rcm_cascade.errors import InputError
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import without_effect
from rcm_cascade.training.history import read_history

SWEEP_FILE: Final = "sweep.json"
FAILURE_FILE: Final = "failure.json"

UNREADABLE: Final = "config.yaml unreadable"
"""The override of a run of which nothing else is known."""

State = Literal["finished", "failed", "unfinished"]


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        name: of its folder, below the sweep's.
        folder: of the run; there may be none yet.
        overrides: what it was told beside the defaults: ``("model.levels=2", "seed=0")``.
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

    In the second case the overrides are the keys in which the runs' configurations differ, and a run whose
    configuration cannot be read has failed.

    Raises:
        InputError: if the folder is none, is that of one run, or holds no run; or if `sweep.json` is malformed.
    """
    record = path / SWEEP_FILE
    if record.is_file():
        name, told = _read_record(record)
    elif not path.is_dir():
        raise InputError(f"{path} is no folder; give that of a sweep, such as runs/NAME")
    elif (path / "config.yaml").is_file():
        raise InputError(
            f"{path} is the folder of one run, whose page is {path / 'report.html'}; give the folder of a sweep, which "
            "holds one run folder a job"
        )
    else:
        name, told = path.resolve().name, _derive_overrides(path)
    if not told:
        raise InputError(
            f"{path} holds neither {SWEEP_FILE} nor run folders; give the folder of a sweep, such as the one that "
            "`rcm-cascade train --multirun` writes"
        )
    return Sweep(path, name, tuple(_job(path, folder, overrides) for folder, overrides in told.items()))


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as ``{"model.levels": "3"}``; lists stay whole."""
    flat: dict[str, str] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _text(value)
    return flat


def _text(value: object) -> str:
    """As one would write it on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(v) for v in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read_record(record: Path) -> tuple[str, dict[str, tuple[str, ...]]]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        jobs = {str(job["folder"]): tuple(str(o) for o in job["overrides"]) for job in content["jobs"]}
        name = str(content.get("name") or record.parent.resolve().name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{record} is no record of a sweep ({type(error).__name__}: {error}); the sweep's command, given again, "
            "writes it anew"
        ) from error
    return name, jobs


def _derive_overrides(path: Path) -> dict[str, tuple[str, ...]]:
    configs = {file.parent.name: _flat_config(file) for file in sorted(path.glob("*/config.yaml"))}
    keys = {key: None for config in configs.values() for key in config}  # a dictionary keeps their order
    differing = [key for key in keys if len({c.get(key) for c in configs.values() if c}) > 1]
    return {
        name: tuple(f"{key}={config[key]}" for key in differing if key in config) if config else (UNREADABLE,)
        for name, config in configs.items()
    }


def _flat_config(file: Path) -> dict[str, str]:
    """What makes a run's configuration, whatever keys it has; empty where the file cannot be read."""
    free = tuple(f"{key}." for key in ("hash", *without_effect()))
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(content["data"], dict):
            return {}
        return {key: value for key, value in flatten(content).items() if not f"{key}.".startswith(free)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return {}


def _job(path: Path, name: str, overrides: tuple[str, ...]) -> Job:
    folder = RunFolder(path / name)
    state, sentence = _state(folder)
    if overrides == (UNREADABLE,):
        state, sentence = "failed", f"{folder.config} cannot be read"
    seed = next((o.partition("=")[2] for o in reversed(overrides) if re.match(r"\+{0,2}seed=\d+$", o)), None)
    seed = seed or _flat_config(folder.config).get("seed", "")
    return Job(name, folder, overrides, int(seed) if seed.isdecimal() else 0, state, sentence)


def _state(folder: RunFolder) -> tuple[State, str]:
    if folder.result.is_file():
        return "finished", ""
    failure = folder.path / FAILURE_FILE
    if failure.is_file():
        try:
            return "failed", str(json.loads(failure.read_text(encoding="utf-8"))["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return "failed", f"{failure} cannot be read"
    if not folder.metrics.is_file():
        return "unfinished", "nothing trained yet"
    try:
        epochs = sum("time/epoch_s" in row for row in read_history(folder.metrics))
    except (OSError, ValueError, TypeError):
        return "unfinished", f"interrupted or at work; {folder.metrics} cannot be read"
    return "unfinished", f"interrupted or at work, with {epochs} epoch{'' if epochs == 1 else 's'} done"
