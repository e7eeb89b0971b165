"""A job that several sweeps ask for runs once: the others link to its folder."""

import json
import os
import sys
from pathlib import Path

from rcm_cascade.runs import RunFolder


def link_twin(folder: Path, identity: str, runs: Path) -> Path | None:
    """Replaces a job's empty folder by a link to a finished run of the same configuration.

    Args:
        folder: of the job, made by Hydra.
        identity: hash of its configuration, as result.json holds it.
        runs: where to look: its run folders, and the sweeps in it.

    Returns:
        The run linked to; None if there is none, or the job's folder is not empty.
    """
    if folder.is_symlink() or any(folder.iterdir()):
        return None
    for pattern in ("*/result.json", "*/*/result.json"):
        for result in sorted(runs.glob(pattern)):
            twin = result.parent
            if twin.is_symlink() or twin.resolve() == folder.resolve() or not _is_run(result, identity):
                continue
            folder.rmdir()
            folder.symlink_to(os.path.relpath(twin.resolve(), folder.parent.resolve()), target_is_directory=True)
            print(f"{folder}: {twin} has the same configuration and is finished; linked to it", file=sys.stderr)
            return twin
    return None


def _is_run(result: Path, identity: str) -> bool:
    try:
        content = json.loads(result.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("hash") == identity and RunFolder(result.parent).best.is_file()
