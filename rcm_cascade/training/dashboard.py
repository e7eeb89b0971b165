"""Weights & Biases: the run of a job, from its beginning to its exit code; offline where nobody is logged in."""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from pydantic import ValidationError

from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole
from rcm_cascade.training.code_version import code_version
from rcm_cascade.training.module import MONITORED

TAG_LENGTH: Final = 64
"""W&B refuses a run with a longer tag, when it is synchronised if not before."""

NAME_LENGTH: Final = 128
"""W&B's limit for names of runs and groups."""

SETTINGS: Final = {
    "console": "off",  # a progress bar rewrites its line hundreds of times; metrics.csv and the terminal have the rest
    "silent": True,  # a line of ours instead of a banner through the bar
    "init_timeout": 30.0,  # seconds until a server that does not answer is given up
    "finish_timeout": 600.0,  # a network that went away must not hold up the next job of a sweep
    "finish_timeout_raises": True,
}
"""What W&B is set to where the environment (``WANDB_CONSOLE``, …) does not say otherwise."""


class Dashboard(Logger):
    """A job's W&B run, as a Lightning logger.

    Lightning's own `WandbLogger` lets W&B count rows. Here a row's number is the optimiser's step, as in metrics.csv:
    the step is every chart's x axis, training and validation share a row, and the files of a job that was interrupted
    and resumed offline continue each other when they are uploaded.

    Args:
        run: W&B's; None: this process is not the first of several.
    """

    def __init__(self, run: Any) -> None:  # noqa: ANN401  # wandb is not typed
        super().__init__()
        self.run = run
        self.waiting: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "wandb"

    @property
    def version(self) -> str:
        """The run's id."""
        return "" if self.run is None else str(self.run.id)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # noqa: ANN401  # wandb is not typed
        """W&B's own run."""
        return self.run

    @property
    def active(self) -> bool:
        """Whether anything is recorded: not on other ranks than 0, and not with ``WANDB_MODE=disabled``."""
        return self.run is not None and not self.run.disabled

    def show(self, media: Mapping[str, Any]) -> None:
        """Adds tables and pictures to the row that is written next, at the latest when the run is closed."""
        if self.active:
            self.waiting.update(media)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds to the row of the step; numbers of training come last in an epoch and send it off."""
        row, self.waiting = {**metrics, **self.waiting}, {}
        self.run.log(row, step=step, commit=any(key.startswith("train/") for key in metrics))

    @rank_zero_only
    def log_hyperparams(self, params: object, *args: object, **kwargs: object) -> None:
        """Nothing: the configuration is there from the beginning."""

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        """Writes single numbers into the run's summary, the columns of W&B's table of runs; None is left out."""
        if self.active:
            self.run.summary.update({key: value for key, value in numbers.items() if value is not None})

    def keep_checkpoint(self, path: Path, metadata: Mapping[str, Any]) -> None:
        """Makes a checkpoint an artifact of type ``model``.

        The file is not copied: it is uploaded from where it lies, offline when `wandb sync` is run. Until then it must
        stay there and stay as it is.

        Args:
            path: of the checkpoint.
            metadata: what it is found by: hash, dataset_id, mean_sensitivity, …; plain types.
        """
        if not self.active:
            return
        artifact = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=dict(metadata))
        artifact.add_file(str(path.absolute()), policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact, aliases=["best"])

    def close(self, exit_code: int) -> None:
        """Ends the run with the job's own exit code, so that a failed job is shown as failed."""
        if self.run is None:
            return
        if self.waiting:
            self.run.log(self.waiting)
        files = self.run.sync_dir
        try:
            self.run.finish(exit_code=exit_code)
        except TimeoutError:
            print(f"W&B did not take everything in time; `wandb sync {files}` sends the rest", file=sys.stderr)


def open_dashboard(
    folder: Path,
    *,
    project: str,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    group: str | None = None,
    overrides: Sequence[str] = (),
) -> Dashboard:
    """Begins the W&B run of a job, or goes on with it.

    Never waits for anybody: offline where nobody is logged in, and where W&B cannot be reached. On other ranks than 0
    there is no run.

    Args:
        folder: of the job; its name becomes the run's, and its ``wandb`` folder holds the files.
        project: W&B project.
        config: of the job, resolved, plain types.
        facts: what else the run's config says: hash, split_id, dataset_id, synthetic, …; the code's version is added.
        group: W&B group; None: the sweep folder's name, if the job is one of a sweep.
        overrides: that a single run was composed with, for tags; a sweep's jobs are tagged as ``sweep.json`` says.

    Raises:
        InputError: if W&B refuses what it is told.
    """
    swept = _swept_overrides(folder)
    if group is None and swept is not None:
        group = folder.absolute().parent.name
    arguments = {
        "project": project,
        "group": group and shortened(group, NAME_LENGTH),
        "name": shortened(folder.name, NAME_LENGTH),
        "job_type": "train",
        "tags": tags(overrides if swept is None else swept),
        "config": {**config, **facts, **code_version()},
    }
    return Dashboard(_begin(folder, arguments))


@rank_zero_only
def _begin(folder: Path, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401  # wandb is not typed
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mode = _mode()
        try:
            run = _init(folder, arguments, mode)
        except (wandb.Error, TimeoutError) as error:
            if mode not in ("online", "run"):
                raise
            print(f"W&B cannot be reached ({_reason(error)}): writing offline files", file=sys.stderr)
            wandb.teardown()  # its other process would still hold the run's id
            run = _init(folder, arguments, "offline")
    except (wandb.Error, ValidationError, TimeoutError) as error:
        raise InputError(
            f"W&B does not begin a run ({_reason(error)}); check the WANDB_… variables and the logger's keys, or train "
            "with logger=csv"
        ) from error
    if not run.disabled:
        place = f"offline files, which `wandb sync {run.sync_dir}` uploads" if run.offline else run.url
        print(f"W&B: {place}", file=sys.stderr)
    return run


def _init(folder: Path, arguments: Mapping[str, Any], mode: str) -> Any:  # noqa: ANN401  # wandb is not typed
    told: dict[str, Any] = {k: v for k, v in SETTINGS.items() if f"WANDB_{k.upper()}" not in os.environ}
    run = wandb.init(
        **arguments,
        id=None if mode == "disabled" else _identity(folder),
        dir=folder,
        resume="allow",
        reinit="create_new",  # a run of somebody else's in this process goes on, and no job continues another's
        settings=wandb.Settings(mode=mode, **told),
    )
    run.define_metric(MONITORED, summary="max")  # the table of runs shows the best epoch, whose weights are kept
    return run


def _mode() -> str:
    """As the environment or `wandb offline` has it, but offline where nobody is logged in: W&B would ask, and wait."""
    mode = os.environ.get("WANDB_MODE") or str(wandb.setup().settings.mode)
    if mode in ("online", "run") and wandb.run is None and not wandb.login(prompt=False, verify=False):
        print("nobody is logged in to W&B", file=sys.stderr)
        return "offline"
    return mode


def _identity(folder: Path) -> str:
    """The run's id, drawn once a folder: one made of its path would go on with the run of a folder deleted since."""
    path = folder / "wandb" / "id"
    if not path.is_file():
        with written_whole(path) as temporary:
            temporary.write_text(secrets.token_hex(8))
    return path.read_text()


def tags(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides as W&B tags: without the run's name and the logger's keys, each of at most `TAG_LENGTH` characters."""
    plain = [o.lstrip("+") for o in overrides]
    telling = [o for o in plain if o.split("=")[0].split(".")[0] not in ("run", "logger")]
    return tuple(dict.fromkeys(shortened(o, TAG_LENGTH) for o in telling))


def shortened(text: str, length: int) -> str:
    """A text of at most ``length`` characters; what is cut off is told apart by a hash."""
    if len(text) <= length:
        return text
    return f"{text[: length - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _swept_overrides(folder: Path) -> list[str] | None:
    """What ``sweep.json`` beside the job's folder says of it; None: the job is not one of a sweep."""
    path = folder.absolute().parent / "sweep.json"
    if not path.is_file():
        return None
    jobs = json.loads(path.read_text())["jobs"]
    return next(([str(o) for o in job["overrides"]] for job in jobs if job["folder"] == folder.name), [])


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
