import io
from contextlib import nullcontext

import pytest
import torch
from rich.console import Console

from rcm_cascade.errors import InputError
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.trainer import check_device, level_table, memory_format

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
