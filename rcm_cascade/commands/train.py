"""`rcm-cascade train`: one run, from data to a validated checkpoint; resumed where it was interrupted."""

import hashlib
import logging
import math
import pickle
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.loggers import Logger
from rich.console import Console
from rich.table import Table

from rcm_cascade.commands.batch_picture import batch_picture
from rcm_cascade.commands.datasets import TrainingData, describe_split, load_training_data, need, patch_geometry
from rcm_cascade.commands.report import write_run_page
from rcm_cascade.commands.score import score
from rcm_cascade.config import TrainConfig, config_hash
from rcm_cascade.data.atomic import written_whole
from rcm_cascade.data.datamodule import LoadingArguments, MosaicDataModule
from rcm_cascade.data.manifest import Dataset
from rcm_cascade.data.splits import read_split, write_split
from rcm_cascade.errors import InputError
from rcm_cascade.models.cascade import CascadeArguments
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.models.summary import LevelSummary, summarise_network
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs import RunFolder, claim, write_json
from rcm_cascade.training.callbacks import Coverage, EpochLine, MovingAverage, ValidateAtEnd
from rcm_cascade.training.history import MetricsCsv
from rcm_cascade.training.loss import inverse_frequency
from rcm_cascade.training.module import MONITORED, CascadeModule


def train(config: TrainConfig, path: Path) -> dict[str, Any]:
    """Trains as configured in a run folder, and returns what its ``result.json`` says.

    The same configuration again goes on from the last checkpoint, or, if the run is finished, changes nothing.

    Raises:
        InputError: if the configuration, the data or the folder is wrong.
    """
    _check_device(config)
    folder = RunFolder(path)
    with claim(folder, config) as state:
        if state == "finished":
            print(f"{path} is finished; nothing to do (delete the folder to train again)", file=sys.stderr)
            return folder.read_result()
        return _run(config, folder, resume=state == "interrupted")


def draw_batch(config: TrainConfig, out: Path) -> None:
    """Draws patches of the first epoch before and after augmentation, with labels, into a PNG; trains nothing.

    Raises:
        InputError: if the configuration or the data is wrong.
    """
    loaded = load_training_data(config.data)
    header = make_header(config, loaded)
    datamodule = make_datamodule(config, loaded, header)
    save_png(batch_picture(datamodule, header.classes, header.working_pixel_size_um), out)


def _run(config: TrainConfig, folder: RunFolder, resume: bool) -> dict[str, Any]:
    seed_everything(config.seed, workers=True, verbose=False)
    loaded = load_training_data(config.data)
    if resume and folder.split.is_file() and read_split(folder.split) != loaded.split:
        raise InputError(
            f"the split of {loaded.dataset.root} is no longer the one in {folder.split}; restore the manifest or split "
            "file, or train in another folder with run=NAME"
        )
    write_split(folder.split, loaded.split)
    header = make_header(config, loaded)
    levels = summarise_network(header.model)
    datamodule = make_datamodule(config, loaded, header)
    weights = None
    if config.loss.class_weights == "inverse_frequency":
        weights = inverse_frequency(datamodule.class_pixels().tolist())
    module = CascadeModule(header, config.loss, config.optim, weights)
    _print_start(loaded, datamodule, levels, config)

    resumed_step = _step_of(folder.last) if resume else None
    history = MetricsCsv(folder.metrics, resumed_step)
    outcome = "failed"
    loggers = [history, *_dashboards(config, folder, header)]
    try:
        with quiet():
            trainer = make_trainer(config, folder, datamodule, loggers)
            _fit(trainer, module, datamodule, folder.last if resume else None)
        if not trainer.is_global_zero:
            return {}
        if not folder.best.exists():  # no validation set: the last epoch counts
            with written_whole(folder.best) as temporary:
                shutil.copyfile(folder.last, temporary)
        result = {
            "hash": config_hash(config),
            "dataset_id": header.dataset_id,
            "split_id": hashlib.sha256(folder.split.read_bytes()).hexdigest()[:16],
            "synthetic": header.synthetic,
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(sum(row.get("time/epoch_s", 0.0) for row in history.rows.values()), 1),
            "checkpoint": str(folder.best.relative_to(folder.path)),
            **_best(trainer),
            "parameters": sum(level.parameters for level in levels),
        }
        result["validation"] = _validate(config, folder, loaded, datamodule)
        write_run_page(folder, result, datamodule)
        write_json(folder.result, result)
        outcome = "finished"
        return result
    finally:
        _close(loggers, outcome)


def _fit(trainer: Trainer, module: CascadeModule, datamodule: MosaicDataModule, resume_from: Path | None) -> None:
    """Trains; Lightning turns Ctrl-C into an exit, which is turned back."""
    try:
        trainer.fit(module, datamodule, ckpt_path=str(resume_from) if resume_from else None, weights_only=True)
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def make_header(config: TrainConfig, loaded: TrainingData) -> CheckpointHeader:
    """What the run's checkpoints say beside their weights."""
    classes = loaded.dataset.classes
    arguments = CascadeArguments(num_classes=len(classes), in_channels=1, **config.model.model_dump())
    return CheckpointHeader(
        model=arguments,
        classes=classes,
        working_pixel_size_um=loaded.working_pixel_size_um,
        normalisation=config.data.normalisation,
        dataset=loaded.dataset.name,
        dataset_id=loaded.dataset.id,
        split=loaded.split,
        synthetic=loaded.dataset.synthetic,
    )


def make_datamodule(config: TrainConfig, loaded: TrainingData, header: CheckpointHeader) -> MosaicDataModule:
    """Opens the training and validation mosaics; test mosaics are never opened."""
    geometry = patch_geometry(config.data, loaded, header.model.alignment)
    training, validation = loaded.open("train"), loaded.open("val")
    need(training, "train", loaded.dataset)
    arguments = LoadingArguments(
        geometry=geometry,
        augmentation=config.augment,
        sampling=config.data.sampling,
        batch_size=config.data.batch_size,
        num_workers=config.data.num_workers,
        seed=config.seed,
        region_side=4 * geometry.patch,
        max_regions=config.trainer.validation_regions,
        steps_per_epoch=config.trainer.steps_per_epoch,
    )
    return MosaicDataModule(training, validation, len(header.classes), arguments)


def make_trainer(
    config: TrainConfig, folder: RunFolder, datamodule: MosaicDataModule, loggers: list[Logger]
) -> Trainer:
    """A Trainer that saves the best and the last epoch and keeps to the limits of steps and time."""
    validating = len(datamodule.regions) > 0
    checkpoint = partial(ModelCheckpoint, folder.best.parent, enable_version_counter=False, save_top_k=1)
    callbacks: list[Callback] = [Coverage(), EpochLine()]
    if config.optim.ema:
        callbacks.append(MovingAverage(config.optim.ema))
    if config.trainer.max_time:
        callbacks.append(Timer(config.trainer.max_time, verbose=False))
    callbacks.append(ValidateAtEnd())
    bar = sys.stderr.isatty()
    if bar:
        callbacks.append(RichProgressBar())
    if validating:
        callbacks.append(checkpoint("best", monitor=MONITORED, mode="max"))
    callbacks.append(checkpoint("last", save_on_train_epoch_end=True))
    return Trainer(
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        precision=_precision(config),
        max_epochs=config.max_epochs,
        limit_train_batches=datamodule.steps_per_epoch,
        limit_val_batches=None if validating else 0,
        check_val_every_n_epoch=datamodule.validate_every,
        num_sanity_val_steps=0,
        gradient_clip_val=config.optim.clip_norm or None,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=bar,
        log_every_n_steps=1,
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=folder.path,
    )


def _check_device(config: TrainConfig) -> None:
    """Refuses devices that are not there, before Lightning does in its own words."""
    gpus = torch.cuda.device_count()
    if config.trainer.accelerator == "gpu" and not gpus:
        raise InputError("trainer.accelerator=gpu, and PyTorch sees no GPU; train with trainer.accelerator=cpu")
    on_gpu = gpus > 0 and config.trainer.accelerator != "cpu"
    if on_gpu and config.trainer.devices != "auto" and config.trainer.devices > gpus:
        raise InputError(f"trainer.devices={config.trainer.devices}, and PyTorch sees {gpus} GPUs; ask for fewer")


def _precision(config: TrainConfig) -> Literal["bf16-mixed", "32-true"]:
    if config.trainer.precision == "auto":
        gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
        fast = torch.cuda.is_bf16_supported() if gpu else torch.cpu._is_avx512_bf16_supported()
        return "bf16-mixed" if fast else "32-true"
    return "bf16-mixed" if config.trainer.precision == "bf16" else "32-true"


def _validate(
    config: TrainConfig, folder: RunFolder, loaded: TrainingData, datamodule: MosaicDataModule
) -> dict[str, Any] | None:
    """Whole validation mosaics, by the best checkpoint; None without a validation set."""
    mosaics = datamodule.regions.mosaics[: config.trainer.validation_mosaics]
    if not mosaics:
        print("no validation set: the last epoch counts", file=sys.stderr)
        return None
    summary = score(folder.best, mosaics, folder.path / "validation", loaded.dataset, part="val")
    mean: dict[str, Any] = summary["mean"]
    return mean


def _best(trainer: Trainer) -> dict[str, Any]:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            return {"best_" + MONITORED.removeprefix("val/"): round(float(callback.best_model_score), 6)}
    return {}


def _step_of(checkpoint: Path) -> int:
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except (RuntimeError, OSError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"checkpoint {checkpoint} cannot be read ({type(error).__name__}); delete it to train from the beginning"
        ) from error


def _dashboards(config: TrainConfig, folder: RunFolder, header: CheckpointHeader) -> list[Logger]:
    if config.logger.name == "csv":
        return []
    from rcm_cascade.training.dashboard import make_wandb  # wandb takes a second to import

    extra = {"dataset": header.dataset, "dataset_id": header.dataset_id, "version": header.version}
    return [make_wandb(config.logger.project, config.logger.group, folder.path, config.to_plain() | extra)]


def _close(loggers: list[Logger], outcome: str) -> None:
    """One W&B run a job, closed with its exit code."""
    if len(loggers) > 1:
        from rcm_cascade.training.dashboard import close_wandb

        close_wandb(exit_code=0 if outcome == "finished" else 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Lightning says about choices that we have made on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in (
            r".*does not have many workers.*",  # on a CPU the network needs the cores; see data.num_workers
            r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's
            r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 asks torch the old way
        ):
            warnings.filterwarnings("ignore", message)
        yield


def _print_start(
    loaded: TrainingData, datamodule: MosaicDataModule, levels: list[LevelSummary], config: TrainConfig
) -> None:
    dataset: Dataset = loaded.dataset
    console = Console(stderr=True, soft_wrap=True)
    note = "; synthetic: no patients" if dataset.synthetic else ""
    grid = f"{loaded.working_pixel_size_um:g} µm/px" if loaded.working_pixel_size_um else "native px"
    g = datamodule.arguments.geometry
    console.print(f"[bold]{dataset.name}[/] ({describe_split(loaded.split)} mosaics{note}), working at {grid}")
    console.print(
        f"{len(datamodule.patches)} windows of {g.window} px, stride {g.stride} px, one patch of {g.patch} px each; "
        f"{datamodule.steps_per_epoch} batches of {datamodule.arguments.batch_size} an epoch; "
        f"{len(datamodule.regions)} validation regions every {datamodule.validate_every} epoch(s)"
    )
    console.print(level_table(levels, config))


def level_table(levels: list[LevelSummary], config: TrainConfig) -> Table:
    """The table that each run starts with."""
    weights = config.loss.of_levels(len(levels))
    table = Table("level", "down-sampling", "depth", "parameters", "reach (px)", "GFLOP/MP", "loss weight")
    for level, weight in zip(levels, weights, strict=True):
        cells = (level.level, f"{level.factor}×", level.depth, f"{level.parameters:,}", level.reach)
        table.add_row(*map(str, cells), f"{level.gflop_per_mp:.1f}", f"{weight:.2f}")
    total, flop = sum(level.parameters for level in levels), math.fsum(level.gflop_per_mp for level in levels)
    table.add_section()
    table.add_row("all", "", "", f"{total:,}", "", f"{flop:.1f}", "")
    return table
