"""What a run prints before it starts: its data, its network, where the error is injected."""

import math

from rich.console import Console
from rich.table import Table

from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.manifest import Dataset
from rcm_cascade.data.splits import describe_split
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.models.summary import LevelSummary
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import TrainingData


def print_start(
    loaded: TrainingData,
    datamodule: MosaicDataModule,
    levels: list[LevelSummary],
    header: CheckpointHeader,
    config: TrainConfig,
) -> None:
    """Prints data, split, patches and the table of levels to the terminal."""
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
