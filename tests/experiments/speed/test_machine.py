import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch

from experiments.speed import machine
from experiments.speed.machine import describe_machine, matmul_rate, peak_memory, stopwatch
from rcm_cascade import __version__

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def test_the_record_names_what_ran() -> None:
    told = describe_machine(CPU)

    assert told["threads"] == "1"
    assert told["torch"] == torch.__version__
    assert told["rcm_cascade"] == __version__
    assert len(told["device"]) > 3
    assert told["arithmetic"]


def test_changes_that_are_not_committed_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"rev-parse": "abc1234\n", "status": " M a.py\n"}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, answers[command[1]], "")

    monkeypatch.setattr(subprocess, "run", run)
    assert describe_machine(CPU)["commit"] == "abc1234+"
    answers["status"] = "\n"
    assert describe_machine(CPU)["commit"] == "abc1234"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")], ids=str)
def test_without_git_or_a_checkout_the_commit_is_unknown(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert describe_machine(CPU)["commit"] == "unknown"


@pytest.mark.parametrize("products", [1, 4])
def test_the_rate_is_operations_over_seconds(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.MATMUL, "cpu", (8, products))
    times = iter([0.0, 50.0, 100.0, 102.0, 200.0, 202.0, 300.0, 302.0, 400.0, 402.0, 500.0, 530.0])
    monkeypatch.setattr(machine, "stopwatch", lambda device: next(times))

    assert matmul_rate(CPU, torch.float32) == pytest.approx(products * 2 * 8**3 / 2)  # the first one does not count


def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)

    before = time.perf_counter()
    assert before <= stopwatch(torch.device("cuda:0")) <= time.perf_counter()
    stopwatch(CPU)

    assert waited == [torch.device("cuda:0")]


def test_a_process_does_not_count_the_memory_of_the_one_that_started_it() -> None:
    held = np.ones(400_000_000, np.uint8)
    assert peak_memory() > len(held)
    code = "from experiments.speed.machine import peak_memory; print(peak_memory())"
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    with_more = np.ones(400_000_000, np.uint8)
    beside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert len(with_more) == len(held)
    assert abs(int(beside.stdout) - int(alone.stdout)) < 200_000_000
