"""When two runs are the same: configurations compared by value, stored ones of before among them."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text
from rcm_cascade.runs.config import Identity, TrainConfig, parse_config

RECORDED: Final = {
    "mosaics_id": "the data set",
    "split_id": "the split",
    "dataset_id": "the labels, classes or pixel sizes",
    "init": "the weights to begin with",
}
"""Keys of result.json by which data are recognised, the weightiest first, and what has changed where one differs."""


def read_config(path: Path) -> TrainConfig:
    """The configuration that a run's config.yaml holds, whichever release wrote it.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        state = path.stat()
        return _read_config(path, (state.st_mtime_ns, state.st_ino))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__})") from error


@cache
def _read_config(
    path: Path, changed: tuple[int, int]
) -> TrainConfig:  # a sweep looks at those of all other runs, job by job
    return parse_config(yaml.safe_load(path.read_text(encoding="utf-8")))


def write_config(path: Path, config: TrainConfig) -> None:
    """Writes config.yaml: the resolved configuration, below a hash of it by which pages and dashboards name it."""
    plain = {"hash": config_hash(config)} | config.to_plain()
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def config_hash(config: TrainConfig) -> str:
    """16 hexadecimal digits of what makes a run: a name for it. Whether runs are the same, `effective` says."""
    return hashlib.sha256(json.dumps(effective(config), sort_keys=True).encode()).hexdigest()[:16]


def effective(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration can change the result, with paths resolved: equal in two runs that are the same."""
    plain = _effective(config)
    if config.data.source == "folder":
        del plain["data"]["phantom"]
    return plain


def _effective(section: BaseModel) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if Identity.NEVER in field.metadata:
            continue
        if Identity.PATH in field.metadata and value is not None:
            value = str(Path(value).resolve())
        kept[name] = _effective(value) if isinstance(value, BaseModel) else to_jsonable_python(value)
    return kept


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``key: old → new`` for each key in which two plain configurations differ."""
    lines: list[str] = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a} → {b}")
    return lines


def changed_data(recorded: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """What of a run's data or initial weights is no longer as it was recorded, in words; empty if nothing is.

    Args:
        recorded: a run's result.json. Those of before hold one id of the data set, of its manifest.
        facts: the same as it is now, with that id as ``legacy_id``; what is not in it is not compared.
    """
    if "mosaics_id" not in recorded and recorded.get("dataset_id") == facts.get("legacy_id"):
        recorded = {**recorded, **{key: facts.get(key) for key in ("dataset_id", "mosaics_id")}}
    for key, what in RECORDED.items():
        if key in facts and recorded.get(key) != facts[key]:
            return what
    return ""


def extends(new: TrainConfig, old: TrainConfig) -> bool:
    """Whether a configuration asks for the same run, only longer."""
    limits = [name for name, field in type(new.trainer).model_fields.items() if Identity.LIMIT in field.metadata]
    trainer = new.trainer.model_copy(update={name: getattr(old.trainer, name) for name in limits})
    same = effective(new.model_copy(update={"trainer": trainer})) == effective(old)
    longer = [(a, b) for a, b in zip(_limits(old), _limits(new), strict=True) if a != b]
    return same and bool(longer) and all(a < b for a, b in longer)


def _limits(config: TrainConfig) -> tuple[float, ...]:
    """Epochs, steps, seconds."""
    seconds = math.inf
    if config.trainer.max_time is not None:
        days, hours, minutes, rest = map(int, config.trainer.max_time.split(":"))
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    epochs = math.inf if config.max_epochs < 0 else config.max_epochs
    return epochs, config.trainer.max_steps or math.inf, seconds
