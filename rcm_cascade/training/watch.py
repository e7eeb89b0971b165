"""What Lightning does not do for several processes: name the one that died, and see that all find the same numbers."""

import os
import sys
import threading
import time
from math import inf
from typing import Final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

EVERY_S: Final = 0.5

FIRST: Final = "RCM_CASCADE_FIRST_PROCESS"
"""Of the environment in which Lightning starts the other processes: the PID of the one that does."""


class WatchRanks(Callback):
    """Ends a process whose first process has died, and the first with a word about another that was killed.

    Under torchrun and Slurm these watch. Does nothing with one process.
    """

    def __init__(self) -> None:
        self.over = threading.Event()

    def begin(self, trainer: Trainer) -> None:
        """Watches from before the processes first meet; to be called before the training."""
        if hasattr(trainer.strategy.launcher, "procs"):
            os.environ[FIRST] = str(os.getpid())
        if trainer.num_devices > 1 and FIRST in os.environ:
            threading.Thread(target=self._watch, args=(int(os.environ[FIRST]), trainer), daemon=True).start()

    def _watch(self, first: int, trainer: Trainer) -> None:
        while not self.over.wait(EVERY_S):
            if first not in (os.getpid(), os.getppid()):
                _end(f"the first process (PID {first}) is gone, so this one (PID {os.getpid()}) ends, too")
            for rank, other in enumerate(getattr(trainer.strategy.launcher, "procs", ()), start=1):
                status = other.poll() or 0
                if status and not self.over.wait(2 * EVERY_S if status > 0 else 0):  # Ctrl-C ends all, this one last
                    told = f"process {rank} of {trainer.num_devices} (PID {other.pid})"
                    _end(f"{told} ended with status {status}; the job ends")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on the processes need not wait for each other."""
        self.over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A broken connection is another's death: leaves the word to the thread that knows whose."""
        if trainer.world_size > 1 and isinstance(exception, RuntimeError):
            time.sleep(6 * EVERY_S)
        self.over.set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All processes took the same steps, so that their loss and their weights are the same, and finite.

        Raises:
            RuntimeError: if they have come apart.
        """
        if trainer.world_size == 1:
            return
        size = sum(float(p.detach().double().abs().sum()) for p in pl_module.parameters())
        mine = torch.tensor([float(trainer.callback_metrics["train/loss"]), size], dtype=torch.float64)
        for name, found in zip(("losses", "sums of weights"), pl_module.all_gather(mine).T.tolist(), strict=True):
            if not max(found) - min(found) <= 1e-6 * abs(found[0]) < inf:
                raise RuntimeError(f"processes have come apart, or optim.lr is too high: their {name} are {found}")


def _end(sentence: str) -> None:
    """Ends this process at once: its main thread may wait in a collective call, where nothing reaches it."""
    try:
        print(f"error: {sentence}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
    finally:  # though nobody listens any more
        os._exit(1)
