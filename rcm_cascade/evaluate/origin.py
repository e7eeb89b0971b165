"""Which checkpoint an evaluation is of: its digest, as `metrics.json` records it."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Final

CHECKPOINT_KEY: Final = "checkpoint_sha256"
"""Of `metrics.json`."""


def digest(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's file, in hexadecimal; read again only if the file changed.

    Raises:
        OSError: if it cannot be read.
    """
    status = checkpoint.stat()
    return _digest(checkpoint.resolve(), status.st_size, status.st_mtime_ns)


def is_evaluation_of(folder: Path, checkpoint: Path) -> bool:
    """Whether a folder holds what `write_evaluation` writes of a checkpoint, as that is now.

    Where the checkpoint is gone, the files stand as they are: there is nothing to make them anew from.

    Args:
        folder: of the evaluation.
        checkpoint: that it should be of.
    """
    if not all((folder / name).is_file() for name in ("metrics.json", "confusions.json")):
        return False
    if not checkpoint.is_file():
        return True
    try:
        content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get(CHECKPOINT_KEY) == digest(checkpoint)


@lru_cache(maxsize=1024)
def _digest(checkpoint: Path, size: int, changed_ns: int) -> str:
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
