"""`rcm-cascade train`: one run, from data to a validated checkpoint; resumed where it was interrupted."""

import math
import pickle
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from rcm_cascade import __version__
from rcm_cascade.annotate.starter import STARTER, starter_path
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.manifest import DATASET_FILE
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.splits import read_split, split_id, write_split
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json, written_whole
from rcm_cascade.models.checkpoint import CheckpointHeader, digest, read_header
from rcm_cascade.models.matching import matched
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.pictures.comparison import batch_picture
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import (
    TrainingData,
    dataset_folder,
    load_training_data,
    patch_geometry,
    read_training_data,
)
from rcm_cascade.runs.folder import RunFolder, claim
from rcm_cascade.runs.identity import changed_data, config_hash
from rcm_cascade.runs.overview import print_start
from rcm_cascade.runs.score import score
from rcm_cascade.runs.trainer import check_device, make_trainer, memory_format, on_gpu, quiet
from rcm_cascade.training.compiled import compiled_forward
from rcm_cascade.training.history import MetricsCsv
from rcm_cascade.training.initial import read_initial, settle_init
from rcm_cascade.training.loss import inverse_frequency
from rcm_cascade.training.module import MONITORED, CascadeModule
from rcm_cascade.training.ranks import rank
from rcm_cascade.training.recompute import recompute_activations

if TYPE_CHECKING:
    from rcm_cascade.training.wandb import WandbRun


def train(config: TrainConfig, path: Path) -> dict[str, Any]:
    """Trains as configured in a run folder, and returns what its ``result.json`` says.

    The same configuration again goes on from the last checkpoint, or, if the run is finished, changes nothing.

    Raises:
        InputError: if the configuration, the data or the folder is wrong.
    """
    check_device(config)
    folder = RunFolder(path)
    with claim(folder, config) as state:
        if state == "finished":
            # one whose data has been moved away stays as it is
            _refuse_changed(config, path, folder.read_result(), _data_facts(config) or {})
            if rank() == 0:
                print(f"{path} is finished; nothing to do (delete the folder to train again)", file=sys.stderr)
            return folder.read_result()
        return _run(config, folder, resume=state == "interrupted")


def identify(config: TrainConfig) -> dict[str, str] | None:
    """What of a run's result.json says on which data it was trained and with which weights it began.

    Returns:
        For `changed_data`; None if the data set is not there.

    Raises:
        InputError: if the data set is there and wrong.
        OSError: if the initial weights are gone.
    """
    facts = _data_facts(config)
    if facts is None or config.init is None:
        return facts
    return facts | {"init": digest(init_path(config.init))}


def init_path(init: str) -> Path:
    """The checkpoint that the configuration's ``init`` names."""
    return starter_path() if init == STARTER else Path(init)


def _data_facts(config: TrainConfig) -> dict[str, str] | None:
    root = dataset_folder(config.data)
    return read_training_data(root, config.data).facts if (root / DATASET_FILE).is_file() else None


def _refuse_changed(config: TrainConfig, path: Path, recorded: Mapping[str, Any], facts: Mapping[str, str]) -> None:
    if what := changed_data(recorded, facts):
        raise InputError(
            f"{what} of {dataset_folder(config.data)} changed since {path} was trained on it; choose another "
            "folder with run=NAME, or delete this one"
        )


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
    initial = read_initial(config.init, init_path(config.init)) if config.init is not None and not resume else None
    loaded = load_training_data(config.data)
    if resume and folder.split.is_file() and read_split(folder.split) != loaded.split:
        raise InputError(
            f"the split of {loaded.dataset.root} is no longer the one in {folder.split}; restore the manifest or split "
            "file, or train in another folder with run=NAME"
        )
    if rank() == 0:
        write_split(folder.split, loaded.split)
    resumed_step = _step_of(folder.last) if resume else None
    if resume:
        begun = read_header(folder.last)
        recorded = {"mosaics_id": begun.mosaics_id, "dataset_id": begun.dataset_id, "split_id": split_id(begun.split)}
        _refuse_changed(config, folder.path, {k: v for k, v in recorded.items() if v}, loaded.facts)
    if initial is not None:
        checkpoint = initial.checkpoint
        initial = replace(initial, checkpoint=replace(checkpoint, header=loaded.recognised(checkpoint.header)))
    header = settle_init(
        initial, make_header(config, loaded), folder.last if resume and config.init is not None else None
    )
    levels = summarise_network(header.model)
    datamodule = make_datamodule(config, loaded, header)
    module = make_module(config, header, datamodule)
    if rank() == 0:
        print_start(loaded, datamodule, levels, header, config)
    if initial is not None:
        told = initial.load_into(module.network, header)
        if rank() == 0:
            print(*told, sep="\n", file=sys.stderr)

    history = MetricsCsv(folder.metrics, resumed_step)
    outcome = "failed"
    identity = {
        "hash": config_hash(config),
        **{key: value for key, value in loaded.facts.items() if key != "legacy_id"},
        "synthetic": header.synthetic,
        **({"init": header.init} if config.init is not None else {}),
    }
    wandb = _wandb(config, folder, {"dataset": header.dataset, **identity})
    loggers: list[Logger] = [history] if wandb is None else [history, wandb]
    try:
        with quiet():
            shown = [] if wandb is None else [_shown_validation(config, wandb, datamodule)]
            trainer = make_trainer(config, folder, datamodule, loggers, shown)
            if config.trainer.devices == "auto" and trainer.world_size == 1:
                print("trainer.devices=auto finds one device here, so one process trains", file=sys.stderr)
            _fit(trainer, module, datamodule, folder.last if resume else None)
        if not trainer.is_global_zero:
            return {}
        if not len(datamodule.regions):  # no validation set: the last epoch counts
            with written_whole(folder.best) as temporary:
                shutil.copyfile(folder.last, temporary)
        seconds = (r.get("time/epoch_s", 0.0) - r.get("time/validation_s", 0.0) for r in history.rows.values())
        result = {
            **identity,
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(math.fsum(seconds), 1),
            "checkpoint": str(folder.best.relative_to(folder.path)),
            **_best(trainer),
            "parameters": sum(level.parameters for level in levels),
            "gflop_per_mp": round(math.fsum(level.gflop_per_mp for level in levels), 3),
            **_trained_classes(loaded),
            "version": __version__,
        }
        metrics = _validate(config, folder, loaded, datamodule)
        result["temperature"] = None if metrics is None else metrics["calibration"]["temperature"]
        result["validation"] = None if metrics is None else metrics["mean"]
        save_png(batch_picture(datamodule, header.classes, header.working_pixel_size_um), folder.batch)
        write_json(folder.result, result)
        if wandb is not None:
            best = folder.best if config.logger.artifact else None
            wandb.log_result(result, metrics, header.classes, best)
        outcome = "finished"
        return result
    finally:
        if wandb is not None:
            wandb.close(exit_code=0 if outcome == "finished" else 1)


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
    arguments = config.model.arguments(len(classes))
    if config.model.equal is not None:
        arguments = matched(arguments, config.model.equal)
    return CheckpointHeader(
        model=arguments,
        classes=classes,
        working_pixel_size_um=loaded.working_pixel_size_um,
        normalisation=config.data.normalisation,
        dataset=loaded.dataset.name,
        dataset_id=loaded.ids.content,
        mosaics_id=loaded.ids.mosaics,
        split=loaded.split,
        synthetic=loaded.dataset.synthetic,
    )


def make_datamodule(config: TrainConfig, loaded: TrainingData, header: CheckpointHeader) -> MosaicDataModule:
    """Opens the training and validation mosaics; test mosaics are never opened."""
    geometry = patch_geometry(config.data, loaded, header.model.alignment)
    loaded.need("train")
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
        on_gpu=on_gpu(config),
    )
    return MosaicDataModule(loaded.open("train"), loaded.open("val"), len(header.classes), arguments)


def make_module(config: TrainConfig, header: CheckpointHeader, datamodule: MosaicDataModule) -> CascadeModule:
    """The network with fresh weights, its loss and its optimiser.

    Raises:
        InputError: if the network cannot compute activations again, and was asked to.
    """
    weights = None
    if config.loss.class_weights == "inverse_frequency":
        weights = inverse_frequency(datamodule.class_pixels().tolist())
    layout = memory_format(config, header.model.base_filters, datamodule.arguments.geometry.patch)
    module = CascadeModule(header, config.loss, config.optim, weights, layout)
    if config.trainer.recompute:
        recompute_activations(module.network)
    if config.trainer.compile:
        module.learn = compiled_forward(module.network)
    return module


def _validate(
    config: TrainConfig, folder: RunFolder, loaded: TrainingData, datamodule: MosaicDataModule
) -> dict[str, Any] | None:
    """Whole validation mosaics, by the best checkpoint, which is given its temperature; None without such mosaics."""
    mosaics = datamodule.regions.mosaics[: config.trainer.validation_mosaics]
    if not mosaics:
        print("no validation set: the last epoch counts", file=sys.stderr)
        return None
    return score(folder.best, loaded, mosaics, folder.path / "validation", part="val", fit_temperature=True)


def _trained_classes(loaded: TrainingData) -> dict[str, list[str]]:
    """Of a fold: the classes that its training mosaics hold, so that a report can name those that they do not."""
    if loaded.folds is None:
        return {}
    held = np.sum([loaded.folds.pixels[mosaic] for mosaic, part in loaded.split.items() if part == "train"], axis=0)
    return {
        "trained_classes": [name for name, pixels in zip(loaded.dataset.classes.names, held, strict=True) if pixels]
    }


def _best(trainer: Trainer) -> dict[str, Any]:
    scores = [c.best_model_score for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
    return {"best_" + MONITORED.removeprefix("val/"): round(float(s), 6) for s in scores if s is not None}


def _step_of(checkpoint: Path) -> int:
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except (RuntimeError, OSError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"checkpoint {checkpoint} cannot be read ({type(error).__name__}); delete it to train from the beginning"
        ) from error


def _wandb(config: TrainConfig, folder: RunFolder, facts: Mapping[str, Any]) -> "WandbRun | None":
    if config.logger.name == "csv":
        return None
    from rcm_cascade.training.wandb import open_wandb  # wandb takes a second to import

    return open_wandb(
        folder.path,
        project=config.logger.project,
        group=config.logger.group,
        config={**config.to_plain(), **facts},
        overrides=list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else (),
    )


def _shown_validation(config: TrainConfig, wandb: "WandbRun", datamodule: MosaicDataModule) -> Callback:
    from rcm_cascade.training.wandb import ShowValidation

    return ShowValidation(wandb, datamodule.regions, config.logger.regions)
