"""Two real processes from the installed console script (gloo)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rcm_cascade.training.history import read_history
from tests.running import tiny

SCRIPT = str(Path(sys.executable).parent / "rcm-cascade")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TWO = ("trainer.devices=2", "trainer.accelerator=cpu")

pytestmark = pytest.mark.slow


def overrides(phantoms: Path, *more: str) -> list[str]:
    return [
        *[o for o in tiny(phantoms) if o != "+debug=fast"],
        "trainer.precision=fp32", "trainer.validation_regions=3", "trainer.validation_mosaics=1", "run=a", *more,
    ]  # fmt: skip


def run(cwd: Path, *arguments: str, timeout: float = 300, **environment: str) -> "subprocess.CompletedProcess[str]":
    cwd.mkdir(exist_ok=True)
    command = [SCRIPT, "train", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=timeout
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(folder / "runs" / "a" / "checkpoints" / "last.ckpt", weights_only=True)
    assert loaded["global_step"] == 10
    state: dict[str, torch.Tensor] = loaded["state_dict"]
    return state


def test_two_processes_reach_the_weights_of_one_with_their_batches_together(phantoms: Path, tmp_path: Path) -> None:
    steps = overrides(phantoms, "trainer.max_steps=10", "optim.freeze_norm=true")
    for name, more in (("one", ["data.batch_size=4"]), ("two", ["data.batch_size=2", *TWO])):
        done = run(tmp_path / name, *steps, *more)
        assert done.returncode == 0, done.stderr
        windows = re.search(r"(\d+) windows", done.stderr)
        assert windows
        assert int(windows[1]) % 4, "the last step should have fewer patches"
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key, value in one.items():
        assert torch.allclose(two[key], value, rtol=0, atol=1e-5), key
    rows = [read_history(tmp_path / name / "runs" / "a" / "metrics.csv") for name in ("one", "two")]
    assert [r["train/labelled_area_covered"] for r in rows[0]] == [r["train/labelled_area_covered"] for r in rows[1]]
    gradients = [f"train/grad_norm_level{level}" for level in (1, 2, 3)]  # AdamW would forgive a factor
    for key in ("train/loss", *gradients, "val/loss", "val/mean_sensitivity", "val/mean_specificity"):
        assert [r[key] for r in rows[0] if key in r] == pytest.approx([r[key] for r in rows[1] if key in r], abs=1e-4)


def test_with_batch_norms_in_training_both_find_the_same_finite_numbers(phantoms: Path, tmp_path: Path) -> None:
    epochs = overrides(phantoms, "trainer.max_epochs=2", "data.batch_size=3", *TWO)
    # As within an allocation of Slurm's of one task, without srun.
    done = run(tmp_path / "two", *epochs, SLURM_JOB_ID="1", SLURM_NTASKS="1", SLURM_JOB_NAME="train")
    assert done.returncode == 0, done.stderr  # at each epoch's end the processes compare their losses
    windows = re.search(r"(\d+) windows", done.stderr)
    assert windows
    steps = json.loads((tmp_path / "two" / "runs" / "a" / "result.json").read_text())["steps"]
    assert steps == 2 * -(-int(windows[1]) // 6)
    for row in read_history(tmp_path / "two" / "runs" / "a" / "metrics.csv"):
        assert all(value == value and abs(value) < float("inf") for value in row.values())
    assert [p.name for p in (tmp_path / "two" / "runs").iterdir()] == ["a"]


def test_both_take_paths_and_names_as_typed(phantoms: Path, tmp_path: Path) -> None:
    root = tmp_path / 'it\'s Größe=1 #(a)[b]{c}&~,%$x ${y}: "q"'
    root.symlink_to(phantoms)
    command = [*tiny(root), *TWO, "run=2024_01_05 [a]=#(ö)*"]
    for said in ("epoch 1/1: loss", "runs/2024_01_05 [a]=#(ö)* is finished"):
        done = run(tmp_path / "two", *command)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr


def test_a_limit_of_time_keeps_one_learning_rate(phantoms: Path, tmp_path: Path) -> None:
    limited = overrides(phantoms, "trainer.max_time=00:00:00:06", "data.batch_size=2", "optim.lr=0.01", *TWO)
    done = run(tmp_path / "two", *limited)
    assert done.returncode == 0, done.stderr  # at each epoch's end the processes compare their weights


def test_a_process_that_dies_ends_the_job_by_name_and_the_command_goes_on(phantoms: Path, tmp_path: Path) -> None:
    command = overrides(phantoms, "trainer.max_epochs=12", "data.batch_size=2", *TWO)
    last = tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt"
    kill_one(1, tmp_path, command, lambda pid: bool(children(pid)))  # before they have met
    assert not last.exists()
    kill_one(1, tmp_path, command, lambda pid: last.exists())
    assert not (tmp_path / "runs" / "a" / "result.json").exists()

    begun = torch.load(last, weights_only=True)["epoch"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/12" not in done.stderr
    assert f"epoch {begun + 2}/12" in done.stderr


@pytest.mark.parametrize(("sent", "met"), [(signal.SIGTERM, False), (signal.SIGKILL, True)])
def test_when_the_first_process_dies_the_second_ends_and_says_so(
    sent: signal.Signals, met: bool, phantoms: Path, tmp_path: Path
) -> None:
    command = overrides(phantoms, "trainer.max_epochs=12", "data.batch_size=2", *TWO)
    last = tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt"
    kill_one(0, tmp_path, command, lambda pid: last.exists() if met else bool(children(pid)), sent)
    assert last.exists() == met


def test_torchrun_starts_it_too(phantoms: Path, tmp_path: Path) -> None:
    torchrun = str(Path(sys.executable).parent / "torchrun")
    command = overrides(phantoms, "trainer.max_steps=3", "data.batch_size=2", *TWO)
    done = subprocess.run(
        [torchrun, "--standalone", "--nproc-per-node=2", SCRIPT, "train", *command], cwd=tmp_path, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "a" / "result.json").read_text())["steps"] == 3


def kill_one(
    rank: int, cwd: Path, command: list[str], when: Callable[[int], bool], sent: signal.Signals = signal.SIGKILL
) -> None:
    """Kills one of two processes once something is so of the first; the other then says it and ends."""
    process = subprocess.Popen(
        [SCRIPT, "train", *command], cwd=cwd, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not when(process.pid):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (child,) = children(process.pid)
    os.kill((process.pid, child)[rank], sent)
    _, said = process.communicate(timeout=60)  # until both have closed it
    if rank == 1 and "Forcefully terminating all other processes" in said:  # Lightning's watch, every 5 s, was first
        assert process.returncode == -signal.SIGKILL
        assert f"[rank: 1] Child process with PID {child} terminated with code -9" in said
        return
    assert process.returncode == (-sent, 1)[rank], said
    assert (
        f"the first process (PID {process.pid}) is gone, so this one (PID {child}) ends",
        f"process 1 of 2 (PID {child}) ended with status -9; the job ends",
    )[rank] in said
    assert "Traceback" not in said


def children(pid: int) -> list[int]:
    """The Python processes that a process has started and that train."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(")")
            if int(fields.split()[1]) == pid and "train" in (stat.parent / "cmdline").read_text():
                found.append(int(name.split()[0]))
        except (OSError, IndexError):
            continue
    return found


def test_a_loss_that_is_no_number_ends_both_processes_with_one_sentence(phantoms: Path, tmp_path: Path) -> None:
    done = run(
        tmp_path / "two", *overrides(phantoms, "trainer.max_steps=6", "optim.lr=1e38", "data.batch_size=2", *TWO)
    )
    assert done.returncode == 2, done.stderr
    assert len(re.findall(r"error: the loss in epoch 1, batch 2, is not a finite number", done.stderr)) == 1
    assert "process 1 of 2 ends with the first, which says why" in done.stderr
    assert not list((tmp_path / "two").rglob("*.ckpt"))
