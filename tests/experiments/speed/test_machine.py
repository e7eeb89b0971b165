import subprocess
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from experiments.speed import machine
from experiments.speed.machine import (
    Timed,
    alone,
    describe_machine,
    floor_s_per_mp,
    matmul_rate,
    peak_memory,
    stopwatch,
    take_turns,
)
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.summary import summarise_network

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def test_the_record_names_what_ran() -> None:
    told = describe_machine(CPU)

    assert told["threads"] == "1"
    assert told["torch"] == torch.__version__
    assert len(told["device"]) > 3
    assert told["arithmetic"]


def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert head.startswith(describe_machine(CPU)["commit"].removesuffix("+"))


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")], ids=str)
def test_without_git_or_a_checkout_the_commit_is_unknown(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert describe_machine(CPU)["commit"] == "unknown"


def test_they_run_in_turn_and_the_median_counts(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def runner(name: str, seconds: list[float]) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return seconds.pop(0)

        return run

    runs = [Timed("a", runner("a", [1.0, 9.0, 2.0])), Timed("b", runner("b", [5.0, 4.0, 6.0]))]
    take_turns(runs, 3)

    assert order == ["a", "b"] * 3
    assert [run.median for run in runs] == [2.0, 5.0]
    assert "round 2: a: 9000.00 ms" in capsys.readouterr().err


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


def test_the_floor_is_all_operations_at_one_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "matmul_rate", lambda device, dtype, tf32: 2e9)
    arguments = CascadeArguments(base_filters=4)
    operations = sum(s.gflop_per_mp for s in summarise_network(arguments)) * 1e9
    assert operations > 1e9

    found = floor_s_per_mp(arguments, CPU, torch.float32)

    assert found[0] == pytest.approx(operations / 2e9)
    assert found[1] == 2e9


def test_a_process_does_not_count_the_memory_of_the_one_that_started_it() -> None:
    held = np.ones(400_000_000, np.uint8)
    assert peak_memory() > len(held)
    before = alone(peak_memory)
    with_more = np.ones(400_000_000, np.uint8)
    beside = alone(peak_memory)
    assert len(with_more) == len(held)
    assert abs(beside - before) < 200_000_000
