import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from rcm_cascade.training.watch import take_over


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """One that stands for the first, and one that it has started."""
    with ExitStack() as stack:
        started = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
        for process in started:
            stack.enter_context(process)
            stack.callback(process.kill)
        yield started


@pytest.mark.parametrize("taken", [True, False])
def test_lightning_kills_nobody_whose_children_are_taken_over(
    taken: bool, processes: list["subprocess.Popen[bytes]"]
) -> None:
    first, child = processes
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    launcher.procs = [child]
    observer = _ChildProcessObserver(first.pid, launcher.procs)
    if taken:
        assert take_over(launcher) == launcher.procs == [child]
    child.kill()
    child.wait()
    assert observer._run()  # and is over
    if taken:
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.2)
    else:
        assert first.wait(10) == -9
