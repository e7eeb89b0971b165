"""Which code a run was made by."""

import os
import subprocess
from pathlib import Path

import rcm_cascade


def code_version() -> dict[str, str]:
    """The package's version and, in a checkout, its commit.

    Returns:
        ``version``; ``commit``, with ``-dirty`` where tracked files have been changed since, in a checkout only: a
        package installed below somebody else's repository has no commit of that one.
    """
    version = {"version": rcm_cascade.__version__}
    package = Path(rcm_cascade.__file__)
    if _git("ls-files", "--error-unmatch", package.name, folder=package.parent):
        commit = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=package.parent)
        if commit:
            version["commit"] = commit
    return version


def _git(*arguments: str, folder: Path) -> str:
    """What git says in a folder; empty where there is no git, or it says no."""
    command = ["git", "-C", str(folder), *arguments]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # only looks; does not wait for, or hinder, another git
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
