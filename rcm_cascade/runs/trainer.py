"""What a run trains with: its header, mosaics, network and Trainer, where it computes, and how that is printed."""

import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, Literal

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.loggers import Logger
from rich.console import Console
from rich.table import Table

from rcm_cascade.annotate.backends import has_bf16
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.ids import patient_ids
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.splits import copies_straddling, describe_split, patients_straddling
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.models.summary import LevelSummary, fewest_normed, matched
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import TrainingData, patch_geometry
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.training.callbacks import (
    EpochLine,
    MovingAverage,
    ValidateAtEnd,
    WatchRanks,
    WholeCheckpoints,
)
from rcm_cascade.training.finite import StopAtNaN
from rcm_cascade.training.loss import inverse_frequency
from rcm_cascade.training.module import MONITORED, CascadeModule
from rcm_cascade.training.passes import compiled_forward, recompute_activations
from rcm_cascade.training.ranks import started


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
        contents={mosaic: loaded.contents[mosaic] for mosaic in loaded.split},
        patients={m: patient for m, patient in patient_ids(loaded.dataset).items() if m in loaded.split},
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


def refuse_single_values(config: TrainConfig, header: CheckpointHeader, datamodule: MosaicDataModule) -> None:
    """Refuses patches and batches so small that a batch norm would see one value a channel, which has no variance.

    Where batch norms are synchronised, they see the other processes' values, too.

    Raises:
        InputError: naming the keys to change.
    """
    if config.optim.freeze_norm or (_several(config) and on_gpu(config)):
        return
    ranks = config.trainer.devices * config.trainer.nodes if isinstance(config.trainer.devices, int) else 1
    batch, patch = datamodule.smallest_batch(ranks), datamodule.arguments.geometry.patch
    level, values = fewest_normed(header.model, batch, patch)
    if values < 2:
        last = "" if batch == config.data.batch_size else f", of which an epoch's last batch has {batch}"
        raise InputError(
            f"a batch norm of level {level} would see one value a channel, and one has no variance: data.patch is "
            f"{patch} px and data.batch_size={config.data.batch_size}{last}; give a larger data.patch, or "
            f"{'a larger' if not last else 'another'} data.batch_size, or optim.freeze_norm=true"
        )


def make_trainer(
    config: TrainConfig,
    folder: RunFolder,
    datamodule: MosaicDataModule,
    loggers: list[Logger],
    callbacks: Sequence[Callback] = (),
) -> Trainer:
    """A Trainer that saves the best and the last epoch and keeps to the limits of steps and time.

    Args:
        config: of the run.
        folder: of the run.
        datamodule: that it trains on.
        loggers: that take what is measured.
        callbacks: called beside the run's own.
    """
    validating = len(datamodule.regions) > 0
    checkpoint = partial(ModelCheckpoint, folder.best.parent, enable_version_counter=False, save_top_k=1)
    watch = WatchRanks()
    first = StopAtNaN(datamodule, config.optim.lr)
    called: list[Callback] = [first, *callbacks, datamodule.coverage, EpochLine(), watch]
    if config.optim.ema:
        called.append(MovingAverage(config.optim.ema))
    if config.trainer.max_time:
        called.append(Timer(config.trainer.max_time, verbose=False))
    called.append(ValidateAtEnd())
    bar = sys.stderr.isatty()
    if bar:
        called.append(RichProgressBar())
    if validating:
        called.append(checkpoint("best", monitor=MONITORED, mode="max"))
    called.append(checkpoint("last", save_on_train_epoch_end=True))
    # In a Slurm job whose tasks nobody started with srun, Lightning would take this process for one of them.
    environment = [LightningEnvironment()] if _several(config) and started() is None else []
    trainer = Trainer(
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        num_nodes=config.trainer.nodes,
        benchmark=on_gpu(config),  # patches are of one size, so cuDNN tries its algorithms once
        sync_batchnorm=on_gpu(config) and _several(config),
        precision=_precision(config),
        max_epochs=config.max_epochs,
        max_steps=config.trainer.max_steps or -1,
        accumulate_grad_batches=config.trainer.accumulate,
        limit_train_batches=datamodule.steps_per_epoch,
        limit_val_batches=None if validating else 0,
        check_val_every_n_epoch=datamodule.validate_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=bar,
        log_every_n_steps=1,
        logger=loggers,
        callbacks=called,
        default_root_dir=folder.path,
        plugins=[WholeCheckpoints(), *environment],
    )
    watch.begin(trainer)
    return trainer


def check_device(config: TrainConfig) -> None:
    """Refuses devices and processes that are not there, before Lightning does in its own words, or waits for them.

    Of processes that were started, each by itself would train the whole run, into one folder.
    """
    gpus, there, nodes = torch.cuda.device_count(), started(), config.trainer.nodes
    if config.trainer.accelerator == "gpu" and not gpus:
        raise InputError("trainer.accelerator=gpu, and PyTorch sees no GPU; train with trainer.accelerator=cpu")
    every = gpus if on_gpu(config) else 1
    devices = every if config.trainer.devices == "auto" else config.trainer.devices
    if on_gpu(config) and devices > gpus:
        raise InputError(f"trainer.devices={devices}, and PyTorch sees {gpus} GPUs; ask for fewer")
    if config.trainer.compile and on_gpu(config) and devices * nodes > 1:
        raise InputError(
            "trainer.compile=true is for one GPU: with batch norms synchronised between several it has never been run; "
            "leave it false, or train with trainer.devices=1"
        )
    if there is None and nodes > 1:
        raise InputError(
            f"trainer.nodes={nodes} needs a process a device on each machine: start them with torchrun, or submit the "
            "run with --multirun launcher=slurm"
        )
    if there is not None and there != devices * nodes:
        raise InputError(
            f"torchrun or Slurm started {there} processes, and trainer.devices={config.trainer.devices} with "
            f"trainer.nodes={nodes} is {devices * nodes}; give the devices of a machine and the machines as they were "
            "started"
        )


def on_gpu(config: TrainConfig) -> bool:
    """Whether a run trains on GPUs."""
    return config.trainer.accelerator != "cpu" and torch.cuda.is_available()


def _several(config: TrainConfig) -> bool:
    """Whether several processes train; PyTorch synchronises batch norms between GPUs only."""
    return config.trainer.devices != 1 or config.trainer.nodes != 1


LARGE: Final = 2**20
"""Numbers in one patch's activations at the first convolution, from which channels-last is slower on a processor."""


def memory_format(config: TrainConfig, filters: int, side: int) -> torch.memory_format:
    """How activations lie in memory: channels last, but for large ones in float32 on a processor.

    There they fall out of its cache: at 24 filters and 512 px channels-last took a third as long again, at 64 px no
    longer (experiments/speed).

    Args:
        config: of the run.
        filters: of the network's first block.
        side: of a patch, in px.
    """
    slow = not on_gpu(config) and _precision(config) == "32-true" and filters * side**2 > LARGE
    return torch.contiguous_format if slow else torch.channels_last


def _precision(config: TrainConfig) -> Literal["bf16-mixed", "32-true"]:
    if config.trainer.precision == "auto":
        return "bf16-mixed" if has_bf16(torch.device("cuda" if on_gpu(config) else "cpu")) else "32-true"
    return "bf16-mixed" if config.trainer.precision == "bf16" else "32-true"


def print_start(
    loaded: TrainingData,
    datamodule: MosaicDataModule,
    levels: list[LevelSummary],
    header: CheckpointHeader,
    config: TrainConfig,
) -> None:
    """Prints data, split, patches and the table of levels to the terminal."""
    dataset, console = loaded.dataset, Console(stderr=True, soft_wrap=True)
    if straddling := patients_straddling(dataset, loaded.split):
        print(f"warning: patients on both sides of the split: {', '.join(straddling)}", file=sys.stderr)
    if copies := copies_straddling(loaded.contents, loaded.split):
        print(
            f"warning: one image on both sides of the split: {', '.join(copies)}; "
            f"`rcm-cascade check {dataset.root}` says more",
            file=sys.stderr,
        )
    note = "; synthetic: no patients" if dataset.synthetic else ""
    grid = f"{loaded.working_pixel_size_um:g} µm/px" if loaded.working_pixel_size_um else "native px"
    g = datamodule.arguments.geometry
    console.print(f"[bold]{dataset.name}[/] ({describe_split(loaded.split)} mosaics{note}), working at {grid}")
    console.print(
        f"{len(datamodule.patches)} windows of {g.window} px, stride {g.stride} px, one patch of {g.patch} px each; "
        f"{datamodule.steps_per_epoch} batches of {datamodule.arguments.batch_size} an epoch; "
        f"{len(datamodule.regions)} validation regions every {datamodule.validate_every} epoch(s)"
    )
    if config.model.equal is not None:
        console.print(
            f"{header.model.base_filters} filters: as many {config.model.equal} as the paper's form of "
            f"{config.model.base_filters} filters has, as nearly as can be"
        )
    console.print(level_table(levels, _shown_weights(header, config)))


def _shown_weights(header: CheckpointHeader, config: TrainConfig) -> list[str]:
    """The weight of each level's loss; of a DynUNet's one level, those of all its outputs."""
    if header.model.trained_apart:
        return ["apart"] * header.model.levels
    weights = [f"{weight:.2f}" for weight in config.loss.of_network(header.model)]
    return weights if len(weights) == header.model.levels else [" ".join(weights)]


def level_table(levels: list[LevelSummary], weights: list[str]) -> Table:
    """The table that each run starts with: a row a level, then the whole."""
    table = Table("level", "factor", "depth", "parameters", "reach (px)", "GFLOP/MP", "loss weight")
    for level, weight in zip(levels, weights, strict=True):
        cells = (level.level, f"{level.factor}×", level.depth, f"{level.parameters:,}", level.reach)
        table.add_row(*map(str, cells), f"{level.gflop_per_mp:.1f}", weight)
    total, flop = sum(level.parameters for level in levels), math.fsum(level.gflop_per_mp for level in levels)
    table.add_section()
    table.add_row("all", "", "", f"{total:,}", "", f"{flop:.1f}", "")
    return table


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Lightning says about choices that we have made on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in (
            r".*does not have many workers.*",  # on a CPU the network needs the cores; see data.num_workers
            r".*resuming from a checkpoint that ended before the epoch ended.*",  # an extended run repeats its batches
            r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's
            r".*It is recommended to use `self\.log\(.*sync_dist=True.*",  # they are those of all processes already
            r"The `srun` command is available on your system but is not used.*",  # launcher=slurm is for that
            r".*isinstance\(treespec, LeafSpec\).*",  # Lightning 2.6 asks torch the old way
        ):
            warnings.filterwarnings("ignore", message)
        yield
