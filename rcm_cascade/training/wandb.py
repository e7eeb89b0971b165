"""Weights & Biases: a job's run, from its beginning to its exit code; offline where nobody is logged in."""

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from rcm_cascade import __version__
from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.patches import BLANK, RegionDataset
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import written_whole
from rcm_cascade.pictures.shrink import shrink_factor, shrink_image, shrink_labels
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

ConfusionPicture = Callable[[NDArray[np.int64], ClassTable], Image.Image]


class WandbRun(WandbLogger):
    """A job's W&B run, as a Lightning logger.

    Lightning lets W&B count rows. Here a row's number is the optimiser's step, as in metrics.csv: the step is every
    chart's x axis, training and validation share a row, and the files of a job that was interrupted and resumed offline
    continue each other when they are uploaded.

    Args:
        run: W&B's; None: this process is not the first of several.
        picture: draws a confusion matrix. W&B's own chart shows bare counts, which only the commonest class fills.
    """

    def __init__(self, run: Any, picture: ConfusionPicture) -> None:  # noqa: ANN401  # wandb is not typed
        super().__init__(experiment=run)
        self.run, self.picture = run, picture
        self.waiting: dict[str, Any] = {}

    @property
    def active(self) -> bool:
        """Whether anything is recorded: not on other ranks than 0, and not with ``WANDB_MODE=disabled``."""
        return self.run is not None and not self.run.disabled

    def show(self, media: Mapping[str, Any]) -> None:
        """Adds tables and pictures to the row that is written next, at the latest when the run is closed."""
        if self.active:
            self.waiting.update(media)

    def show_scores(self, name: str, matrix: NDArray[np.int64], classes: ClassTable) -> None:
        """Shows the scores and the confusions of a matrix ``(C, C)`` int64, rows = truth, as ``name/…``."""
        if self.active:
            confusion = wandb.Image(self.picture(matrix, classes))
            self.show({f"{name}/scores": score_table(matrix, classes), f"{name}/confusion": confusion})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds to the row of the step; numbers of training come last in an epoch and send it off."""
        row, self.waiting = {**metrics, **self.waiting}, {}
        self.run.log(row, step=step, commit=any(key.startswith("train/") for key in metrics))

    @rank_zero_only
    def log_hyperparams(self, params: object) -> None:
        """Nothing: the configuration is there from the beginning."""

    def show_result(
        self, result: Mapping[str, Any], metrics: Mapping[str, Any] | None, classes: ClassTable, best: Path | None
    ) -> None:
        """Shows a finished job: its numbers in the run's summary, whole validation mosaics, its checkpoint.

        The checkpoint becomes an artifact of type ``model``, and is not copied: it is uploaded from where it lies,
        offline when `wandb sync` is run. Until then it must stay there and stay as it is.

        Args:
            result: as in result.json.
            metrics: as in ``validation/metrics.json``; None: without a validation set.
            classes: the class table.
            best: the checkpoint; None: it stays here.
        """
        if not self.active:
            return
        self.run.summary.update(result_numbers(result, metrics))
        if metrics is not None:
            self.show_scores("validation", np.array(metrics["confusion"], np.int64), classes)
        if best is not None:
            told = {key: result[key] for key in ("hash", "dataset_id", "split_id", "synthetic", "version")}
            told["mean_sensitivity"] = None if metrics is None else metrics["mean"]["sensitivity"]
            artifact = wandb.Artifact(f"model-{self.run.id}", type="model", metadata=told)
            artifact.add_file(str(best.absolute()), policy="immutable", skip_cache=True)
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


class ShowValidation(Callback):
    """Shows ``val/scores``, ``val/confusion`` and ``val/regions`` at every validation.

    The network is not run again: `CascadeModule.validation_step` returns what it predicted, as ``prediction``, class
    ids ``(B, H, W)`` uint8. Regions are shown of rank 0's share.

    Args:
        run: the job's.
        regions: that are validated on.
        count: so many of them are shown, evenly spread, always the same; 0: none.
    """

    def __init__(self, run: WandbRun, regions: RegionDataset, count: int = 4) -> None:
        self.run, self.regions, self.count = run, regions, count
        self.chosen: dict[int, int] = {}
        self.predictions: dict[int, NDArray[np.uint8]] = {}
        self.seen = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Chooses regions, by their place in this process's order, and starts counting."""
        order = trainer.datamodule.validation_order()  # type: ignore[attr-defined]
        places = np.linspace(0, len(order) - 1, min(self.count, len(order)) if self.run.active else 0)
        self.chosen = {int(place): order[int(place)] for place in places if order[int(place)] != BLANK}
        self.seen, self.predictions = 0, {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  # as Lightning has it
        *_: object,
    ) -> None:
        """Keeps what was predicted for the chosen regions."""
        for place, prediction in enumerate(outputs["prediction"], start=self.seen):
            if place in self.chosen:
                self.predictions[self.chosen[place]] = prediction.cpu().numpy()
        self.seen += len(outputs["prediction"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows them; stands before the module's own hook, which resets its matrix."""
        assert isinstance(pl_module, CascadeModule)
        # Every rank takes part in the sum over ranks; the module's own call then finds the result ready.
        matrix, classes = pl_module.confusion.compute().cpu().numpy(), pl_module.header.classes
        self.run.show_scores("val", matrix, classes)
        if self.predictions:
            self.run.show({"val/regions": [self._image(i, p, classes) for i, p in self.predictions.items()]})

    def _image(self, index: int, prediction: NDArray[np.uint8], classes: ClassTable) -> wandb.Image:
        (mosaic, top, left), sample = self.regions.regions[index], self.regions[index]
        caption = f"{self.regions.mosaics[mosaic].name}, from row {top}, column {left}"
        factor = shrink_factor((self.regions.side, self.regions.side), REGION_PX)
        truth, predicted = (shrink_labels(labels, factor) for labels in (sample["labels"].numpy(), prediction))
        return region_image(shrink_image(sample["image"].numpy(), factor), truth, predicted, classes, caption)


def region_image(
    grey: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: ClassTable, caption: str
) -> wandb.Image:
    """A region with two masks to lay over it, ``prediction`` and ``truth``. W&B gives the classes its own colours.

    Args:
        grey: ``(H, W)`` uint8.
        truth: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        prediction: ``(H, W)`` uint8 class ids.
        classes: the class table.
        caption: which region it is.
    """
    labels = {**dict(enumerate(classes.names)), UNLABELLED: "unlabelled"}
    maps = {"prediction": prediction, "truth": truth}
    masks = {name: {"mask_data": mask, "class_labels": labels} for name, mask in maps.items()}
    # JPEG: the same region is sent at every validation, and speckle makes a PNG of it several times as large.
    return wandb.Image(grey, masks=masks, caption=caption, file_type="jpg")


def score_table(matrix: NDArray[np.int64], classes: ClassTable) -> wandb.Table:
    """A row a class, then the macro mean over the classes present in the truth; empty where undefined.

    Args:
        matrix: ``(C, C)`` int64, rows = truth.
        classes: the class table.
    """
    columns = [metric.with_mean(matrix).tolist() for metric in METRICS.values()]
    pixels = [*matrix.sum(axis=1).tolist(), int(matrix.sum())]
    rows = [
        [name, count, *(None if np.isnan(value) else value for value in values)]
        for name, count, *values in zip([*classes.names, "mean"], pixels, *columns, strict=True)
    ]
    return wandb.Table(columns=["class", "labelled pixels", *METRICS], data=rows)


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
        calibration = metrics.get("calibration") or {}
        found |= {f"validation/{key}": calibration.get(key) for key in ("ece", "ece_at_temperature")}
    return {k: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def open_wandb(
    folder: Path,
    picture: ConfusionPicture,
    *,
    project: str,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    group: str | None = None,
    overrides: Sequence[str] = (),
) -> WandbRun:
    """Begins the W&B run of a job, or goes on with it.

    Never waits for anybody: offline where nobody is logged in, and where W&B cannot be reached. On other ranks than 0
    there is no run.

    Args:
        folder: of the job; its name becomes the run's, and its ``wandb`` folder holds the files.
        picture: as for `WandbRun`.
        project: W&B project.
        config: of the job, resolved, plain types.
        facts: what else the run's config says: hash, split_id, dataset_id, synthetic, …; our version is
            added.
        group: W&B group; None: the sweep folder's name, if the job is one of a sweep.
        overrides: that a single run was composed with, for tags; a sweep's jobs are tagged as ``sweep.json`` says.

    Raises:
        InputError: if W&B refuses what it is told.
    """
    sweep = folder.absolute().parent / "sweep.json"
    if sweep.is_file():
        group = group or sweep.parent.name
        jobs = json.loads(sweep.read_text())["jobs"]
        overrides = next((job["overrides"] for job in jobs if job["folder"] == folder.name), [])
    arguments = {
        "project": project,
        "group": group and shortened(group, NAME_LENGTH),
        "name": shortened(folder.name, NAME_LENGTH),
        "job_type": "train",
        "tags": tags(overrides),
        "config": {**config, **facts, "version": __version__},
    }
    try:
        return WandbRun(_begin(folder, arguments), picture)
    except (wandb.Error, ValidationError, TimeoutError) as error:
        raise InputError(
            f"W&B does not begin a run ({_reason(error)}); check the WANDB_… variables and the logger's keys, or train "
            "with logger=csv"
        ) from error


@rank_zero_only
def _begin(folder: Path, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401  # wandb is not typed
    folder.mkdir(parents=True, exist_ok=True)
    mode, identity = _mode(), folder / "wandb" / "id"
    # Drawn once a folder: one made of its path would go on with the run of a folder deleted since.
    if mode != "disabled" and not identity.is_file():
        with written_whole(identity) as temporary:
            temporary.write_text(secrets.token_hex(8))
    begin = partial(
        wandb.init,
        **arguments,
        id=identity.read_text() if mode != "disabled" else None,
        dir=folder,
        resume="allow",
        reinit="create_new",  # a run of somebody else's in this process goes on, and no job continues another's
    )
    settings: dict[str, Any] = {k: v for k, v in SETTINGS.items() if f"WANDB_{k.upper()}" not in os.environ}
    try:
        run = begin(settings=wandb.Settings(mode=mode, **settings))
    except (wandb.Error, TimeoutError) as error:
        if mode not in ("online", "run"):
            raise
        print(f"W&B cannot be reached ({_reason(error)}): writing offline files", file=sys.stderr)
        wandb.teardown()  # its other process would still hold the run's id
        run = begin(settings=wandb.Settings(mode="offline", **settings))
    run.define_metric(MONITORED, summary="max")  # the table of runs shows the best epoch, whose weights are kept
    if not run.disabled:
        place = f"offline files, which `wandb sync {run.sync_dir}` uploads" if run.offline else run.url
        print(f"W&B: {place}", file=sys.stderr)
    return run


def _mode() -> str:
    """As the environment or `wandb offline` has it, but offline where nobody is logged in: W&B would ask, and wait."""
    mode = os.environ.get("WANDB_MODE") or str(wandb.setup().settings.mode)
    if mode in ("online", "run") and wandb.run is None and not wandb.login(prompt=False, verify=False):
        print("nobody is logged in to W&B", file=sys.stderr)
        return "offline"
    return mode


def tags(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides as W&B tags: without the run's name and the logger's keys, each of at most `TAG_LENGTH` characters."""
    plain = [o.lstrip("+") for o in overrides]
    telling = [o for o in plain if o.split("=")[0].split(".")[0] not in ("run", "logger")]
    return tuple(dict.fromkeys(shortened(o, TAG_LENGTH) for o in telling))


def shortened(text: str, length: int) -> str:
    """A text of at most ``length`` characters, the last of them a hash where something is cut off."""
    if len(text) <= length:
        return text
    return f"{text[: length - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
