"""Weights & Biases: a job's run, from its beginning to its exit code; offline where nobody is logged in."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from rcm_cascade import __version__
from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.patches import BLANK, RegionDataset
from rcm_cascade.errors import InputError, reason
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import write_text
from rcm_cascade.pictures.maps import shrink_factor, shrink_image, shrink_labels
from rcm_cascade.pictures.plot import confusion_picture
from rcm_cascade.training.module import MONITORED, CascadeModule

TAG_LENGTH: Final = 64
"""W&B refuses a run with a longer tag, when it is synchronised if not before."""

NAME_LENGTH: Final = 128
"""W&B's limit for names of runs and groups."""

REGION_PX: Final = 512
"""Longest side of a region as shown: a validation is then about 0.3 MB, and half a second of one core."""

SETTINGS: Final = {
    "console": "off",  # a progress bar rewrites its line hundreds of times; metrics.csv and the terminal have the rest
    "silent": True,  # a line of ours instead of a banner through the bar
    "init_timeout": 30.0,  # seconds until a server that does not answer is given up
    "finish_timeout": 600.0,  # a network that went away must not hold up the next job of a sweep
    "finish_timeout_raises": True,
}
"""What W&B is set to where the environment (``WANDB_CONSOLE``, …) does not say otherwise."""


class WandbRun(WandbLogger):
    """A job's W&B run, as a Lightning logger.

    Lightning lets W&B count rows. Here a row's number is the optimiser's step, as in metrics.csv: the step is every
    chart's x axis, training and validation share a row, and the files of a job that was interrupted and resumed offline
    continue each other when they are uploaded.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds to the row of a step; numbers of training come last in an epoch and send it off. None: the next row."""
        last = step is None or any(key.startswith("train/") for key in metrics)
        self.experiment.log(dict(metrics), step=step, commit=last)

    def log_result(
        self, result: Mapping[str, Any], metrics: Mapping[str, Any] | None, classes: ClassTable, best: Path | None
    ) -> None:
        """Logs a finished job: its numbers in the run's summary, whole validation mosaics, its checkpoint.

        The checkpoint becomes an artifact of type ``model``, and is not copied: it is uploaded from where it lies,
        offline when `wandb sync` is run. Until then it must stay there and stay as it is.

        Args:
            result: as in result.json.
            metrics: as in ``validation/metrics.json``; None: without a validation set.
            classes: the class table.
            best: the checkpoint; None: it stays here.
        """
        self.experiment.summary.update(result_numbers(result, metrics))
        if metrics is not None:
            matrix = np.array(metrics["confusion"], np.int64)
            self.log_image("validation/confusion", [confusion_picture(matrix, classes)])
        if best is not None:
            facts = {key: result[key] for key in ("hash", "dataset_id", "split_id", "synthetic", "version")}
            facts["mean_sensitivity"] = None if metrics is None else metrics["mean"]["sensitivity"]
            artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model", metadata=facts)
            artifact.add_file(str(best.absolute()), policy="immutable", skip_cache=True)
            self.experiment.log_artifact(artifact, aliases=["best"])

    def close(self, exit_code: int) -> None:
        """Ends the run with the job's own exit code, so that a failed job is shown as failed."""
        try:
            self.experiment.finish(exit_code=exit_code)
        except TimeoutError:
            files = self.experiment.sync_dir
            print(f"W&B did not take everything in time; `wandb sync {files}` sends the rest", file=sys.stderr)


class ShowValidation(Callback):
    """Shows ``val/confusion`` and ``val/regions`` at every validation, beside the curves of every metric and class.

    The network is not run again: `CascadeModule.validation_step` returns what it predicted, as ``prediction``, class
    ids ``(B, H, W)`` uint8. Regions are shown of rank 0's share.

    Args:
        run: the job's.
        regions: that are validated on.
        count: so many of them are shown, evenly spread, always the same; 0: none.
    """

    def __init__(self, run: WandbRun, regions: RegionDataset, count: int = 4) -> None:
        self.run, self.regions, self.count = run, regions, count
        self.predictions: list[NDArray[np.uint8]] = []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Keeps what was predicted, a byte a pixel."""
        self.predictions += [*outputs["prediction"].cpu().numpy()] if self.count else []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows them; stands before the module's own hook, which resets its matrix."""
        assert isinstance(pl_module, CascadeModule)
        # The other processes take part in this sum in the module's own hook, which then finds the result ready here.
        matrix, classes = pl_module.confusion.counts(), pl_module.header.classes
        step, order = trainer.global_step - 1, trainer.datamodule.validation_order()  # type: ignore[attr-defined]
        self.run.log_image("val/confusion", [confusion_picture(matrix, classes)], step)
        places = {int(place) for place in np.linspace(0, len(order) - 1, min(self.count, len(order)))}
        shown = {order[place]: self.predictions[place] for place in sorted(places) if order[place] != BLANK}
        if shown:
            regions = [region_image(self.regions, *region, classes) for region in shown.items()]
            self.run.log_metrics({"val/regions": regions}, step)
        self.predictions = []


def region_image(regions: RegionDataset, index: int, prediction: NDArray[np.uint8], classes: ClassTable) -> wandb.Image:
    """A region, at most `REGION_PX` wide, with two masks to lay over it; W&B gives the classes its own colours.

    Args:
        regions: that are validated on.
        index: which one.
        prediction: ``(H, W)`` uint8 class ids.
        classes: the class table.
    """
    (mosaic, top, left), sample = regions.regions[index], regions[index]
    factor = shrink_factor(prediction.shape, REGION_PX)
    maps = {"prediction": prediction, "truth": sample["labels"].numpy()}
    named = {**dict(enumerate(classes.names)), UNLABELLED: "unlabelled"}
    return wandb.Image(
        shrink_image(sample["image"].numpy(), factor),
        masks={key: {"mask_data": shrink_labels(ids, factor), "class_labels": named} for key, ids in maps.items()},
        caption=f"{regions.mosaics[mosaic].name}, from row {top}, column {left}",
        file_type="jpg",  # the same region is sent at every validation, and speckle makes a PNG several times as large
    )


def result_numbers(result: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> dict[str, float]:
    """The numbers of a finished job, by which W&B's table of runs is sorted and its scatter plots are drawn.

    Args:
        result: as in result.json: its numbers become ``result/parameters``, ``result/seconds``, ….
        metrics: as in ``validation/metrics.json``: becomes ``validation/mean_dice``, ``validation/dice_ring``, …; None:
            without a validation set.
    """
    found = {f"result/{key}": value for key, value in result.items()}
    if metrics is not None:
        found["validation/pixel_accuracy"] = metrics["pixel_accuracy"]
        for name in METRICS:
            found[f"validation/mean_{name}"] = metrics["mean"][name]
            found |= {f"validation/{name}_{row['name']}": row[name] for row in metrics["classes"]}
        found |= {f"validation/{key}": metrics["calibration"][key] for key in ("ece", "ece_at_temperature")}
    return {k: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}


@rank_zero_only
def open_wandb(folder: Path, *, project: str, config: Mapping[str, Any], group: str | None = None) -> WandbRun | None:
    """Begins the W&B run of a job, or goes on with it.

    Never waits for anybody: offline where nobody is logged in, and where W&B cannot be reached.

    Args:
        folder: of the job; its name becomes the run's, the overrides in the name its tags. ``wandb`` in it holds the
            files.
        project: W&B project.
        config: of the run, plain types: the job's, and its facts, such as hash, split_id and dataset_id; our version is
            added.
        group: W&B group; None: the sweep folder's name, if the job is one of a sweep.

    Returns:
        None: on other ranks than 0, and with ``WANDB_MODE=disabled``.

    Raises:
        InputError: if W&B refuses its arguments.
    """
    mode, sweep, identity = _mode(), folder.absolute().parent, folder / "wandb" / "id"
    if mode == "disabled":
        return None
    if group is None and (sweep / "sweep.json").is_file():
        group = sweep.name
    if not identity.is_file():  # drawn once a folder: one made of its path would go on with a deleted folder's run
        write_text(identity, secrets.token_hex(8))
    run = _begin(
        mode,
        project=project,
        group=group and group[:NAME_LENGTH],
        name=folder.name[:NAME_LENGTH],
        job_type="train",
        tags=[override[:TAG_LENGTH] for override in re.split(r",(?=[^,=]+=)", folder.name)],
        config={**config, "version": __version__},
        id=identity.read_text(),
        dir=folder,
        resume="allow",
        reinit="create_new",  # a run of somebody else's in this process goes on, and no job continues another's
    )
    run.define_metric(MONITORED, summary="max")  # the table of runs shows the best epoch, whose weights are kept
    place = f"offline files, which `wandb sync {run.sync_dir}` uploads" if run.offline else run.url
    print(f"W&B: {place}", file=sys.stderr)
    return WandbRun(experiment=run)


def _mode() -> str:
    """As the environment or `wandb offline` has it, but offline where nobody is logged in: W&B would ask, and wait."""
    mode = os.environ.get("WANDB_MODE") or str(wandb.setup().settings.mode)
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        print("nobody is logged in to W&B", file=sys.stderr)
        return "offline"
    return mode


def _begin(mode: str, **arguments: Any) -> wandb.Run:  # noqa: ANN401  # as `wandb.init` takes them
    """`wandb.init`, offline where W&B cannot be reached."""
    settings = {key: value for key, value in SETTINGS.items() if f"WANDB_{key.upper()}" not in os.environ}
    try:
        return wandb.init(settings=wandb.Settings(mode=mode, **settings), **arguments)
    except (wandb.Error, ValueError, TimeoutError) as error:
        if mode == "online" and not isinstance(error, ValueError):
            print(f"W&B cannot be reached ({reason(error)}): writing offline files", file=sys.stderr)
            wandb.teardown()  # its other process would still hold the run's id
            return _begin("offline", **arguments)
        raise InputError(
            f"W&B does not begin a run ({reason(error)}); check the WANDB_… variables and the logger's keys, or train "
            "with logger=csv"
        ) from error
