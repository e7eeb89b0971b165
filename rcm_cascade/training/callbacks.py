"""What happens beside the steps of a run: averaging weights, saying how it goes, saving.

And what Lightning does not do for several processes: name the one that died, and see that all find the same numbers.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rcm_cascade.compat import set_average
from rcm_cascade.models.checkpoint import write_checkpoint
from rcm_cascade.training.module import MONITORED

EVERY_S: Final = 0.1
"""Between two looks; often, for Lightning looks every 5 s, and ends all without the sentence if it is first."""

FIRST: Final = "RCM_CASCADE_FIRST_PROCESS"
"""Of the environment in which Lightning starts the other processes: the PID of the one that does."""


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and batch-norm buffers; what is validated is what is saved.

    The decay rises as ``(1 + n) / (10 + n)`` over the first updates n, as in TensorFlow's ExponentialMovingAverage, so
    that a short run is not averaged with its beginning.

    Args:
        decay: in the long run, [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Makes the average where the module is going to be: Lightning moves it there only after this.

        The count stays on the CPU, so that no step waits for a GPU.
        """
        if stage == "fit":
            self.average = AveragedModel(pl_module, multi_avg_fn=self._update, use_buffers=True)
            self.average.module.to(trainer.strategy.root_device)
            set_average(self, self.average)

    def _update(self, averages: Sequence[Tensor], current: Sequence[Tensor], _: object) -> None:
        """Of tensors of one kind; counts of batches are taken over."""
        n = int(self.average.n_averaged)
        if averages[0].is_floating_point():
            get_ema_multi_avg_fn(min(self.decay, (1 + n) / (10 + n)))(averages, current, None)  # type: ignore[no-untyped-call]
            return
        for average, count in zip(averages, current, strict=True):
            average.copy_(count)


class ValidateAtEnd(Callback):
    """Validates after the last epoch too, however the run ends and however rarely it is validated otherwise.

    Stands behind the `Timer` among the callbacks, whose verdict it reads. Lightning's own limit of steps would end the
    run within an epoch without validating.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last epoch by number."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """The last epoch because time or steps are over."""
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1


class EpochLine(Callback):
    """Prints one line an epoch, and logs how long it took, and how much of that validation."""

    def __init__(self) -> None:
        self.started = self.validating = self.validation_s = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the epoch's clock."""
        self.started, self.validation_s = time.monotonic(), 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the validation's clock."""
        self.validating = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the validation's clock."""
        self.validation_s += time.monotonic() - self.validating

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line."""
        seconds = time.monotonic() - self.started
        pl_module.log_dict({"time/epoch_s": seconds, "time/validation_s": self.validation_s})
        values = trainer.callback_metrics
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        if trainer.max_steps > 0:
            of = f" (step {trainer.global_step}/{trainer.max_steps})"
        line = f"epoch {trainer.current_epoch + 1}{of}: loss {values['train/loss']:.3f}"
        if self.validation_s and MONITORED in values:  # values of earlier validations stay
            sensitivity, specificity = values[MONITORED], values["val/mean_specificity"]
            line += f", validation mean sensitivity {sensitivity:.3f}, specificity {specificity:.3f}"
        if trainer.is_global_zero:
            print(f"{line} ({seconds:.0f} s)", file=sys.stderr, flush=True)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside the one before, which it then replaces.

    Lightning's own writes it into the system's temporary folder and moves it from there: on another disk that is a
    copy, so that a full disk, or a process that is killed meanwhile, destroys the checkpoint before, too.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Writes a checkpoint whole or not at all.

        Args:
            checkpoint: what `torch.save` takes.
            path: of the file.
            storage_options: Lightning's; there are none.

        Raises:
            InputError: if it cannot be written.
        """
        write_checkpoint(checkpoint, Path(path))


class WatchRanks(Callback):
    """Ends a process whose first process has died, and the first with a word about another that was killed.

    Under torchrun and Slurm these watch. Does nothing with one process.
    """

    def __init__(self) -> None:
        self.over = threading.Event()

    def begin(self, trainer: Trainer) -> None:
        """Watches from before the processes first meet; to be called before the training."""
        if hasattr(trainer.strategy.launcher, "procs"):
            os.environ.setdefault(FIRST, str(os.getpid()))
        if trainer.num_devices > 1 and FIRST in os.environ:
            threading.Thread(target=self._watch, args=(int(os.environ[FIRST]), trainer), daemon=True).start()

    def _watch(self, first: int, trainer: Trainer) -> None:
        while not self.over.wait(EVERY_S):
            if first not in (os.getpid(), os.getppid()):
                _end(f"the first process (PID {first}) is gone, so this one (PID {os.getpid()}) ends, too")
            for rank, other in enumerate(getattr(trainer.strategy.launcher, "procs", ()), start=1):
                status = other.poll() or 0
                if status and not self.over.wait(10 * EVERY_S if status > 0 else 0):  # Ctrl-C ends all, this one last
                    name = f"process {rank} of {trainer.num_devices} (PID {other.pid})"
                    _end(f"{name} ended with status {status}; the job ends")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on the processes need not wait for each other."""
        self.over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A broken connection is another's death: leaves the word to the thread that knows whose."""
        if trainer.world_size > 1 and isinstance(exception, RuntimeError):
            time.sleep(30 * EVERY_S)
        self.over.set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All processes took the same steps, so that their loss and their weights are the same, and finite.

        Raises:
            RuntimeError: if they have come apart.
        """
        if trainer.world_size == 1:
            return
        size = sum(float(p.detach().double().abs().sum()) for p in pl_module.parameters())
        loss = float(trainer.callback_metrics["train/loss"])
        mine = torch.tensor([loss, size], dtype=torch.float64, device=pl_module.device)
        all_losses, all_sizes = trainer.strategy.all_gather(mine).T.tolist()
        for name, found in (("losses", all_losses), ("sums of weights", all_sizes)):
            if not max(found) - min(found) <= 1e-6 * abs(found[0]) < inf:
                raise RuntimeError(f"processes have come apart, or optim.lr is too high: their {name} are {found}")


def _end(sentence: str) -> None:
    """Ends this process at once: its main thread may wait in a collective call, where nothing reaches it."""
    try:
        print(f"error: {sentence}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
    finally:  # though nobody listens any more
        os._exit(1)
