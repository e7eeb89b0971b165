"""Which checkpoint an evaluation is of: its digest, as `metrics.json` records it."""

import json
from pathlib import Path
from typing import Final

from rcm_cascade.models.checkpoint import digest

CHECKPOINT_KEY: Final = "checkpoint_sha256"
"""Of `metrics.json`."""


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
