import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
import torch

from experiments.speed.threads import busy_core
from rcm_cascade import threads
from rcm_cascade.threads import SPINS, leave_busy_cores, say_what_is_left


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
    threads._left.clear()


@pytest.mark.usefixtures("two_threads")
def test_busy_cores_are_left_to_others_and_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as beside:
        for _ in range(os.cpu_count() or 1):
            beside.enter_context(busy_core())
        leave_busy_cores()

    assert torch.get_num_threads() == 1
    assert capsys.readouterr().err == ""
    say_what_is_left()
    say_what_is_left()
    assert capsys.readouterr().err == (
        "other programs keep 1 of 2 cores busy: computing on 1 (OMP_NUM_THREADS=2 takes all)\n"
    )


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("busy", "left"), [([0.0, 3.0], 2), ([20.0, 20.0], 2), ([100.0, 2.0], 1), ([100.0] * 4, 1)])
def test_idle_cores_are_all_taken(busy: list[float], left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: busy)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    leave_busy_cores()

    assert torch.get_num_threads() == left


@pytest.mark.usefixtures("two_threads")
def test_what_others_do_on_other_cores_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [100.0] * 6 + [1.0, 2.0])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {6, 7})

    leave_busy_cores()

    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_who_has_chosen_gets_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [100.0, 100.0])

    leave_busy_cores()

    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
    ids=str,
)
def test_threads_wait_briefly_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    environment = {k: v for k, v in os.environ.items() if "OMP_" not in k} | given
    code = "import os, sys, rcm_cascade; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == [expected, "False"]
