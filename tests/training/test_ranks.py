import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from rcm_cascade.training.loss import LossArguments, level_loss
from rcm_cascade.training.ranks import all_reduce, rank


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "3"}, 3),
        ({"RANK": "9", "LOCAL_RANK": "1"}, 9),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}, 2),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "bash", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1),
    ],
)
def test_the_number_of_a_process(environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("RANK", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_JOB_NAME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert rank() == expected


def test_one_process_sums_nothing() -> None:
    values = torch.ones(3)
    assert all_reduce(values) is values


def data() -> tuple[Tensor, Tensor]:
    """Logits and targets of five patches, unevenly labelled, one not at all."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (5, 8, 8), generator=generator).to(torch.uint8)
    target[0, :5] = 255
    target[3] = 255
    return logits, target


def process(number: int, folder: str) -> None:
    """One of two, with three patches or two."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    logits, target = data()
    own = logits[number::2].clone().requires_grad_()
    weights = torch.tensor([1.0, 2.0, 0.5])
    loss = level_loss(own, target[number::2], LossArguments(cross_entropy=1, dice=1), weights, all_reduce)
    torch.autograd.backward(loss)
    torch.save((loss.detach(), own.grad), f"{folder}/{number}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    spawn(process, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    logits, target = data()
    logits.requires_grad_()
    whole = level_loss(logits, target, LossArguments(cross_entropy=1, dice=1), torch.tensor([1.0, 2.0, 0.5]))
    torch.autograd.backward(whole)
    assert logits.grad is not None
    for number in range(2):
        loss, gradient = torch.load(tmp_path / f"{number}.pt")
        assert float(loss) == pytest.approx(float(whole.detach()), rel=1e-6)
        # DDP takes the mean over processes: half of what each finds must be the whole's.
        assert torch.allclose(gradient / 2, logits.grad[number::2], rtol=1e-5, atol=1e-9)
