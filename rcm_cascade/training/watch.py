"""What Lightning does not do for several processes: name the one that died, and see that all find the same numbers."""

import os
import sys
import threading
import time
from math import inf
from typing import Final

from lightning.pytorch import Callback, LightningModule, Trainer

from rcm_cascade.training.ranks import all_gather

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
        launcher, first = trainer.strategy.launcher, int(os.environ.get(FIRST, os.getpid()))
        if first != os.getpid():
            threading.Thread(target=self._watch_first, args=(first,), daemon=True).start()
        elif hasattr(launcher, "procs"):
            os.environ[FIRST] = str(first)
            for rank in range(1, trainer.num_devices):
                threading.Thread(target=self._watch_other, args=(rank, trainer), daemon=True).start()

    def _watch_first(self, first: int) -> None:
        while os.getppid() == first:
            if self.over.wait(EVERY_S):
                return
        _end(f"the first process (PID {first}) is gone, so this one (PID {os.getpid()}) ends, too")

    def _watch_other(self, rank: int, trainer: Trainer) -> None:
        while len(trainer.strategy.launcher.procs) < rank:  # type: ignore[union-attr]  # `begin` has asked
            if self.over.wait(EVERY_S / 10):
                return
        pid = trainer.strategy.launcher.procs[rank - 1].pid  # type: ignore[union-attr]
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # at once, and leaves the process to Lightning
        assert ended is not None
        status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        if status and not self.over.wait(2 * EVERY_S if status > 0 else 0):  # Ctrl-C ends all of them, this one last
            _end(f"process {rank} of {trainer.num_devices} (PID {pid}) ended with status {status}; the job ends")

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
        for name, value in (("losses", float(trainer.callback_metrics["train/loss"])), ("sums of weights", size)):
            found = all_gather(value)
            if not max(found) - min(found) <= 1e-6 * abs(found[0]) < inf:
                raise RuntimeError(f"processes have come apart, or optim.lr is too high: their {name} are {found}")


def _end(sentence: str) -> None:
    """Ends this process at once: its main thread may wait in a collective call, where nothing reaches it."""
    try:
        print(f"error: {sentence}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
    finally:  # though nobody listens any more
        os._exit(1)
