"""What keeps several processes honest: one that dies ends the job by name, and all must find the same numbers."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from rcm_cascade.training.ranks import of_all

EVERY_S: Final = 0.5

FIRST: Final = "RCM_CASCADE_FIRST_PROCESS"
"""Of the environment in which a process starts the others: its PID, to see that it is still there."""


class WatchRanks(Callback):
    """Ends the job when a process has died, one that Lightning started or the first: the others would wait for it.

    Under torchrun and Slurm these watch. Does nothing with one process.
    """

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self.over = threading.Event()

    def from_start(self, launcher: object) -> None:
        """Watches from before the processes first meet: the one that starts the others watches those, and they it.

        Args:
            launcher: of the trainer's strategy, if it has one.
        """
        if first := os.environ.pop(FIRST, None):
            threading.Thread(target=_watch_first, args=(int(first), self.over), daemon=True).start()
        if not isinstance(launcher, _SubprocessScriptLauncher):
            return
        launch = launcher.launch

        def launch_watched(function: Callable[..., Any], *args: object, **more: Any) -> object:  # noqa: ANN401
            def watched(*args: object, **more: object) -> object:
                self.children = take_over(launcher)
                if self.children:
                    threading.Thread(target=_watch, args=(self.children, self.over), daemon=True).start()
                return function(*args, **more)

            os.environ[FIRST] = str(os.getpid())
            try:
                return launch(watched, *args, **more)
            finally:
                del os.environ[FIRST]

        launcher.launch = launch_watched  # type: ignore[method-assign]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on the processes need not wait for each other."""
        self.over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the others, which would wait for this one.

        A broken connection is another's death: leaves the word to the thread that knows whose.
        """
        if trainer.world_size > 1 and isinstance(exception, RuntimeError):
            time.sleep(6 * EVERY_S)
        self.over.set()
        for child in self.children:
            if child.poll() is None:
                child.kill()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All processes took the same steps, so that their loss and their weights are the same, and finite.

        Raises:
            RuntimeError: if they have come apart.
        """
        if trainer.world_size == 1:
            return
        loss: dict[str, Any] = trainer.callback_metrics
        size = sum(float(p.detach().double().abs().sum()) for p in pl_module.parameters())
        for name, value in (("losses", float(loss["train/loss"])), ("sums of weights", size)):
            found = of_all(value, pl_module.device)
            if not all(isfinite(v) for v in found):
                raise RuntimeError(f"the {name} are {found}, no numbers any more; lower optim.lr")
            if not all(abs(v - found[0]) <= 1e-6 * abs(found[0]) for v in found):
                raise RuntimeError(f"processes have come apart: their {name} are {found}")


def take_over(launcher: _SubprocessScriptLauncher) -> list["subprocess.Popen[bytes]"]:
    """The processes that Lightning started, which its own thread then watches no more.

    It looks every five seconds whether one has died, and then kills this process too, before a word is said.
    """
    watched, launcher.procs = launcher.procs, list(launcher.procs)  # whom Lightning tells of signals
    watched.clear()
    return launcher.procs


def _watch_first(first: int, over: threading.Event) -> None:
    while not over.is_set():
        if os.getppid() != first:
            _end(
                f"the first process (PID {first}) is gone, so this one (PID {os.getpid()}) ends, too; the same command "
                "goes on from the last checkpoint"
            )
        over.wait(EVERY_S)


def _watch(children: list["subprocess.Popen[bytes]"], over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        for rank, child in enumerate(children, start=1):
            code = child.poll()
            if not code or over.wait(2 * EVERY_S):  # Ctrl-C ends all of them, this one last
                continue
            for other in children:
                if other.poll() is None:
                    other.kill()
            _end(
                f"process {rank} of {len(children) + 1} (PID {child.pid}) ended with status {code}; the job ends, and "
                "the same command goes on from the last checkpoint"
            )


def _end(sentence: str) -> None:
    """Ends this process at once: its main thread may wait in a collective call, where nothing reaches it."""
    try:
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    finally:  # though nobody listens any more
        os._exit(1)
