"""A job that several sweeps ask for runs once: the others link to its folder."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rcm_cascade.runs.folder import RunFolder

BEGUN: Final = frozenset((".lock", "config.yaml", "split.csv", "metrics.csv", "failure.json"))
"""What an attempt may leave behind that achieved nothing."""


def link_twin(folder: Path, identity: str, identify: Callable[[], Mapping[str, str] | None], runs: Path) -> Path | None:
    """Replaces a job's folder, in which nothing was achieved, by a link to a finished run of the same configuration.

    Args:
        folder: of the job, made by Hydra.
        identity: hash of its configuration, as result.json holds it.
        identify: what else of result.json must be the same, such as the data set and its split; None: there is none.
        runs: where to look: its run folders, and the sweeps in it.

    Returns:
        The run linked to; None if there is none, or the job has begun.
    """
    twin = find_twin(folder, identity, identify, runs)
    if twin is None:
        return None
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()
    folder.symlink_to(os.path.relpath(twin.resolve(), folder.parent.resolve()), target_is_directory=True)
    print(f"{folder}: {twin} has the same configuration and is finished; linked to it", file=sys.stderr)
    return twin


def find_twin(folder: Path, identity: str, identify: Callable[[], Mapping[str, str] | None], runs: Path) -> Path | None:
    """The run that `link_twin` would link to, or is linking to."""
    try:
        if not {entry.name for entry in folder.iterdir()} <= BEGUN or folder.is_symlink():
            return None
    except FileNotFoundError:  # between the folder and the link
        pass
    for pattern in ("*/result.json", "*/*/result.json"):
        for result in sorted(runs.glob(pattern)):
            twin = result.parent
            if twin.is_symlink() or twin.resolve() == folder.resolve() or not _is_run(result, {"hash": identity}):
                continue
            facts = identify()
            if facts is not None and _is_run(result, facts):
                return twin
    return None


def _is_run(result: Path, facts: Mapping[str, str]) -> bool:
    try:
        content = json.loads(result.read_text())
    except (OSError, ValueError):
        return False
    same = isinstance(content, dict) and all(content.get(key) == value for key, value in facts.items())
    return same and RunFolder(result.parent).best.is_file()
