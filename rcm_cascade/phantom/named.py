"""Phantoms that a configuration names: generated once, into a folder that is called after their parameters."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from rcm_cascade.errors import InputError
from rcm_cascade.phantom.dataset import GENERATOR, write_phantoms
from rcm_cascade.yaml_file import read_yaml


def phantom_name(arguments: Mapping[str, Any]) -> str:
    """A folder's name that says the phantoms' parameters.

    Args:
        arguments: of `write_phantoms`, all but ``processes``.
    """
    height, width = arguments["size_mm"]
    parts = [f"{arguments['mosaics']}x{height:g}x{width:g}mm", f"{arguments['pixel_size_um']:g}um"]
    parts.append(f"seed{arguments['seed']}")
    if arguments["patients"] is not None:
        parts.append(f"{arguments['patients']}patients")
    if arguments["sites"] != 1:
        parts.append(f"{arguments['sites']}sites")
    if arguments["deformed_meshwork"] is not None:
        parts.append(f"deformed{arguments['deformed_meshwork']:g}")
    return "-".join(parts)


def ensure_phantoms(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Generates phantoms where they are missing; of several jobs that begin at once, one does.

    Args:
        folder: of the data set.
        arguments: of `write_phantoms`, all but ``processes``.

    Raises:
        InputError: if the folder holds something else than these phantoms.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if (folder / "dataset.yaml").is_file():
            _refuse_others(folder, arguments)
        else:
            print(f"generating {arguments['mosaics']} phantom mosaics in {folder} (synthetic; once)", file=sys.stderr)
            write_phantoms(folder, **arguments)


def _refuse_others(folder: Path, wanted: Mapping[str, Any]) -> None:
    record = folder / "phantom.yaml"
    if not record.is_file():
        raise InputError(f"{folder} holds no phantoms; train on your own mosaics with data=folder data.root={folder}")
    recorded = read_yaml(record)
    if recorded.get("generator", 1) != GENERATOR:
        raise InputError(
            f"{folder} holds phantoms of another version of the generator ({recorded.get('generator', 1)}; this one is "
            f"{GENERATOR}); delete it and they are made anew, or name another folder with data.root"
        )
    made = recorded["arguments"]
    asked = {**wanted, "patients": wanted["patients"] or wanted["mosaics"], "size_mm": list(wanted["size_mm"])}
    other = [f"{key}: {made.get(key)} → {value}" for key, value in asked.items() if made.get(key) != value]
    if other:
        raise InputError(
            f"{folder} holds phantoms of other parameters ({'; '.join(other)}); name another folder with data.root, or "
            "delete this one"
        )
