"""When two runs are the same: configurations compared by value, stored ones of before among them."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text
from rcm_cascade.runs.config import Identity, TrainConfig, parse_config
from rcm_cascade.yaml_file import read_yaml

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
        plain = read_yaml(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__})") from error
    try:
        return parse_config(plain)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, AttributeError) as error:
        raise InputError(f"{path} holds no configuration of a run ({type(error).__name__})") from error


def write_config(path: Path, config: TrainConfig) -> None:
    """Writes config.yaml: the resolved configuration, below a hash of it by which pages and dashboards name it."""
    plain = {"hash": config_hash(config)} | config.to_plain()
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def config_hash(config: TrainConfig) -> str:
    """16 hexadecimal digits of what makes a run: a name for it. Whether runs are the same, `effective` says."""
    return hashlib.sha256(json.dumps(effective(config), sort_keys=True).encode()).hexdigest()[:16]


def effective(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration can change the result, such as ``{"model.levels": 3}``, with paths resolved.

    It is equal in two runs that are the same.
    """
    phantoms = config.data.source == "phantom"
    return {key: value for key, value in _effective(config, "") if phantoms or not key.startswith("data.phantom.")}


def _effective(section: Any, prefix: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (a section, or plain values in it)
    if isinstance(section, BaseModel):
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            if Identity.PATH in field.metadata and value is not None:
                value = str(Path(value).resolve())
            if Identity.NEVER not in field.metadata:
                yield from _effective(value, f"{prefix}.{name}")
    elif isinstance(plain := to_jsonable_python(section), dict):
        for name, value in plain.items():
            yield from _effective(value, f"{prefix}.{name}")
    else:
        yield prefix.removeprefix("."), plain


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """``{key: "old → new"}`` of the keys in which two of `effective` differ."""
    keys = sorted(set(old) | set(new))
    return {key: f"{old.get(key)} → {new.get(key)}" for key in keys if old.get(key) != new.get(key)}


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
    limits = {f"trainer.{k}" for k, field in type(new.trainer).model_fields.items() if Identity.LIMIT in field.metadata}
    longer = [(a, b) for a, b in zip(_limits(old), _limits(new), strict=True) if a != b]
    same = set(differences(effective(old), effective(new))) <= limits
    return same and bool(longer) and all(a < b for a, b in longer)


def _limits(config: TrainConfig) -> tuple[float, ...]:
    """Epochs, steps, seconds."""
    seconds = math.inf
    if config.trainer.max_time is not None:
        days, hours, minutes, rest = map(int, config.trainer.max_time.split(":"))
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    epochs = math.inf if config.max_epochs < 0 else config.max_epochs
    return epochs, config.trainer.max_steps or math.inf, seconds
