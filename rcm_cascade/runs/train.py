"""`rcm-cascade train`: one run, from data to a validated checkpoint; resumed where it was interrupted."""

import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from rcm_cascade import __version__
from rcm_cascade.annotate.starter import STARTER, starter_path
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.manifest import DATASET_FILE
from rcm_cascade.data.splits import split_id, write_split
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json, written_whole
from rcm_cascade.models.checkpoint import CheckpointHeader, digest, load_checkpoint
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.pictures.comparison import batch_picture
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import dataset_folder, load_training_data
from rcm_cascade.runs.folder import RunFolder, claim
from rcm_cascade.runs.identity import changed_data, config_hash
from rcm_cascade.runs.score import score
from rcm_cascade.runs.trainer import (
    check_device,
    make_datamodule,
    make_header,
    make_module,
    make_trainer,
    print_start,
    quiet,
    refuse_single_values,
)
from rcm_cascade.threads import say_what_is_left
from rcm_cascade.training.history import MetricsCsv
from rcm_cascade.training.initial import load_initial, read_initial, refuse_other_form
from rcm_cascade.training.module import MONITORED, CascadeModule
from rcm_cascade.training.ranks import rank

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
    return load_training_data(config.data, root).facts if (root / DATASET_FILE).is_file() else None


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
    header = make_header(config, loaded)
    begun, resumed_step = _begun(folder.last) if resume else (None, None)
    if begun is not None:
        recorded = {"mosaics_id": begun.mosaics_id, "dataset_id": begun.dataset_id, "split_id": split_id(begun.split)}
        _refuse_changed(config, folder.path, {k: v for k, v in recorded.items() if v}, loaded.facts)
        header = replace(header, init=begun.init if config.init is not None else "")
    if rank() == 0:
        write_split(folder.split, loaded.split)
    if initial is not None:
        initial = replace(initial, header=loaded.recognised(initial.header))
        refuse_other_form(str(config.init), initial.header.model, header.model)
        header = replace(header, init=digest(initial.path))
    levels = summarise_network(header.model)
    datamodule = make_datamodule(config, loaded, header)
    refuse_single_values(config, header, datamodule)
    module = make_module(config, header, datamodule)
    if rank() == 0:
        say_what_is_left()
        print_start(loaded, datamodule, levels, header, config)
    if initial is not None:
        sentences = load_initial(str(config.init), initial, module.network, header)
        if rank() == 0:
            print(*sentences, sep="\n", file=sys.stderr)

    history = MetricsCsv(folder.metrics, resumed_step)
    identity = {
        "hash": config_hash(config),
        **{key: value for key, value in loaded.facts.items() if key != "legacy_id"},
        "synthetic": header.synthetic,
        **({"init": header.init} if config.init is not None else {}),
    }
    with _wandb(config, folder, {"dataset": header.dataset, **identity}) as wandb:
        loggers: list[Logger] = [history]
        shown: list[Callback] = []
        if wandb is not None:
            from rcm_cascade.training.wandb import ShowValidation

            loggers.append(wandb)
            shown.append(ShowValidation(wandb, datamodule.regions, config.logger.regions))
        with quiet():
            trainer = make_trainer(config, folder, datamodule, loggers, shown)
            if config.trainer.devices == "auto" and trainer.world_size == 1:
                print("trainer.devices=auto finds one device here, so one process trains", file=sys.stderr)
            _fit(trainer, module, datamodule, folder.last if resume else None)
        if not trainer.is_global_zero:
            return {}
        if not len(datamodule.regions):
            print("no validation set: the last epoch counts", file=sys.stderr)
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
            **({} if loaded.folds is None else {"trained_classes": loaded.folds.trained(loaded.split)}),
            "version": __version__,
        }
        metrics: dict[str, Any] | None = None
        if mosaics := datamodule.regions.mosaics[: config.trainer.validation_mosaics]:
            out = folder.path / "validation"
            metrics = score(folder.best, loaded, mosaics, out, part="val", fit_temperature=True)
        result["temperature"] = None if metrics is None else metrics["calibration"]["temperature"]
        result["validation"] = None if metrics is None else metrics["mean"]
        save_png(batch_picture(datamodule, header.classes, header.working_pixel_size_um), folder.batch)
        write_json(folder.result, result)
        if wandb is not None:
            best = folder.best if config.logger.artifact else None
            wandb.log_result(result, metrics, header.classes, best)
        return result


def _fit(trainer: Trainer, module: CascadeModule, datamodule: MosaicDataModule, resume_from: Path | None) -> None:
    """Trains; Lightning turns Ctrl-C into an exit, which is turned back."""
    try:
        trainer.fit(module, datamodule, ckpt_path=str(resume_from) if resume_from else None, weights_only=True)
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def _best(trainer: Trainer) -> dict[str, Any]:
    scores = [c.best_model_score for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
    return {"best_" + MONITORED.removeprefix("val/"): round(float(s), 6) for s in scores if s is not None}


def _begun(checkpoint: Path) -> tuple[CheckpointHeader, int]:
    """Header and step of the checkpoint from which a run goes on; Lightning, which loads it then, checks nothing."""
    try:
        header = load_checkpoint(checkpoint).header
        return header, int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except (InputError, KeyError) as error:
        fault = str(error).partition("; ")[0] if isinstance(error, InputError) else f"{checkpoint} names no step"
        raise InputError(f"{fault}; delete it to train from the beginning") from error


@contextmanager
def _wandb(config: TrainConfig, folder: RunFolder, facts: Mapping[str, Any]) -> Iterator["WandbRun | None"]:
    """The job's W&B run, which ends as the job does; None without one."""
    if config.logger.name == "csv":
        yield None
        return
    from rcm_cascade.training.wandb import open_wandb  # wandb takes a second to import

    run = open_wandb(
        folder.path,
        project=config.logger.project,
        group=config.logger.group,
        config={**config.to_plain(), **facts},
    )
    exit_code = 1
    try:
        yield run
        exit_code = 0
    finally:
        if run is not None:
            run.close(exit_code)
