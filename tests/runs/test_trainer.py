import io
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from rcm_cascade.errors import InputError
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import load_training_data
from rcm_cascade.runs.trainer import (
    check_device,
    level_table,
    make_datamodule,
    make_header,
    memory_format,
    refuse_single_values,
)
from tests.running import tiny

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_JOB_NAME": "train"}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_JOB_NAME"):
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
@pytest.mark.parametrize("asked", [[], ["trainer.devices=2"], ["trainer.devices=4", "trainer.nodes=2"]])
def test_other_processes_than_asked_for_are_refused(
    environment: dict[str, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    config = compose_config(["trainer.accelerator=cpu", *asked])
    with pytest.raises(InputError, match="started 4 processes"):
        check_device(config)


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
@pytest.mark.parametrize("asked", [["trainer.devices=4"], ["trainer.devices=2", "trainer.nodes=2"]])
def test_the_processes_asked_for_may_train(
    environment: dict[str, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    check_device(compose_config(["trainer.accelerator=cpu", *asked]))


@pytest.mark.parametrize(
    ("filters", "side", "precision", "layout"),
    [
        (8, 64, "fp32", torch.channels_last),
        (24, 512, "fp32", torch.contiguous_format),
        (24, 512, "bf16", torch.channels_last),
    ],
)
def test_large_activations_lie_channel_by_channel_on_a_processor(
    filters: int, side: int, precision: str, layout: torch.memory_format
) -> None:
    config = compose_config(["trainer.accelerator=cpu", f"trainer.precision={precision}"])
    assert memory_format(config, filters, side) == layout


@pytest.mark.parametrize(("gpus", "asked", "refused"), [(2, "auto", True), (2, "1", False), (1, "auto", False)])
def test_one_gpu_may_compile(gpus: int, asked: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    config = compose_config(["trainer.compile=true", f"trainer.devices={asked}"])
    with pytest.raises(InputError, match="is for one GPU") if refused else nullcontext():
        check_device(config)


def test_machines_that_nobody_starts_are_not_waited_for() -> None:
    with pytest.raises(InputError, match="torchrun"):
        check_device(compose_config(["trainer.accelerator=cpu", "trainer.nodes=2"]))
    check_device(compose_config(["trainer.accelerator=cpu", "trainer.devices=2"]))


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    for design, count in (("cascade", 3), ("dynunet", 1)):
        levels = summarise_network(compose_config([f"model={design}", "scale=paper"]).model.arguments(6))
        weights = ["0.33"] * 3 if count == 3 else ["0.14 0.29 0.57"]
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(level_table(levels, weights))
        text = console.export_text()
        assert "…" not in text
        for word in ("parameters", "loss weight", weights[0], "reach (px)", "GFLOP/MP"):
            assert word in text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["data.batch_size=1"], r"data\.batch_size=1; give a larger data\.patch, or a larger data\.batch_size, or opt"),
        (["data.batch_size=1", "model=dynunet"], r"level 1 would see one value a channel"),
        (
            ["data.batch_size=7", "trainer.steps_per_epoch=null"],
            r"=7, of which an epoch's last batch has 1; .*another",
        ),
        (["data.batch_size=10", "trainer.steps_per_epoch=null", "trainer.devices=2"], r"last batch has 1; .*another"),
        (["data.batch_size=1", "optim.freeze_norm=true"], None),
        (["data.batch_size=2"], None),
        (["data.batch_size=7"], None),  # two steps an epoch: the last batch does not come
    ],
)
def test_a_batch_norm_that_would_see_one_value_is_refused_before_training(
    asked: list[str], words: str | None, phantoms: Path
) -> None:
    config = compose_config(tiny(phantoms, "data.patch=16 px", "trainer.accelerator=cpu", *asked))
    loaded = load_training_data(config.data)
    header = make_header(config, loaded)
    datamodule = make_datamodule(config, loaded, header)
    datamodule.patches.windows = np.resize(datamodule.patches.windows, (22, 5))
    with pytest.raises(InputError, match=words) if words else nullcontext():
        refuse_single_values(config, header, datamodule)
