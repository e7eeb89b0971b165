"""Weights & Biases: one run a job, offline where nobody is logged in."""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import Logger, WandbLogger


def make_wandb(project: str, group: str | None, folder: Path, config: Mapping[str, Any]) -> Logger:
    """Begins a W&B run of its own for a job.

    Args:
        project: W&B project.
        group: W&B group; None: none.
        folder: of the run; its name becomes the run's, its ``wandb`` folder holds the files.
        config: resolved, plain types.
    """
    if "WANDB_MODE" not in os.environ and not wandb.api.api_key:
        os.environ["WANDB_MODE"] = "offline"
        print(f"nobody is logged in to W&B: writing offline files into {folder / 'wandb'}", file=sys.stderr)
    wandb.finish()  # a job before this one in the same process must not be continued
    identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]  # a resumed job goes on with its run
    return WandbLogger(
        name=folder.name,
        project=project,
        group=group,
        save_dir=folder,
        id=identity,
        resume="allow",
        config=dict(config),
    )


def close_wandb(exit_code: int) -> None:
    """Ends the job's W&B run with the job's own exit code, so that failed jobs are shown as failed."""
    wandb.finish(exit_code=exit_code)
