"""Training that stops where a number is none any more, and says on which patches."""

from typing import Any, Final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import NETWORK_PREFIX, not_finite
from rcm_cascade.training.ranks import all_reduce

EVERY: Final = 100
"""Batches between two looks; each waits for the device."""

NAMED: Final = 10
"""Patches that the sentence names."""


class StopAtNaN(Callback):
    """Ends a training whose loss or weights are no longer finite, before anything of it is saved.

    Losses stay on the device, and are read every `EVERY` batches, at each validation and at each epoch's end: no step
    waits for them. Stands before the callbacks that print and compare losses; those that save come last anyway.

    Args:
        datamodule: that the patches are of.
        lr: the highest learning rate, for the sentence.
    """

    def __init__(self, datamodule: MosaicDataModule, lr: float) -> None:
        self.datamodule, self.lr = datamodule, lr
        self.read = 0  # batches of this epoch
        self.losses: list[Tensor] = []  # of the batches since
        self.validation: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Keeps the loss; now and then all are read."""
        if len(self.losses) == EVERY:
            self.read, self.losses = self.read + EVERY, []
        self.losses.append(outputs["loss"])
        if len(self.losses) == EVERY:
            self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the losses."""
        self._look(trainer, pl_module)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Keeps the loss."""
        self.validation.append(outputs["loss"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the losses: weights can be finite, and what they compute not."""
        self._look(trainer, pl_module)
        self.validation = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reads the losses."""
        self._look(trainer, pl_module)
        self.read, self.losses = 0, []

    def _look(self, trainer: Trainer, module: LightningModule) -> None:
        weights = not_finite(module.state_dict())
        flags = [~loss.isfinite() for loss in (*self.losses, *self.validation)]
        # A process's validation losses are its own; all processes must find the same, or some would wait for others.
        bad = all_reduce(torch.stack([*flags, *weights.values()]).float()).tolist()
        if not any(bad):
            return
        trained, first = len(self.losses), next(i for i, flag in enumerate(bad) if flag)
        names = [f"the tensor {name.removeprefix(NETWORK_PREFIX)}" for name in weights]
        what = [*["the loss"] * trained, *["the validation loss"] * len(self.validation), *names][first]
        last = self.read + min(first + 1, trained)
        epoch = trainer.train_dataloader.sampler.epoch  # type: ignore[union-attr]
        if not trainer.is_global_zero:
            raise InputError(
                f"process {trainer.global_rank} of {trainer.world_size} ends with the first, which says why"
            )
        places, count = self.datamodule.places(epoch, range(self.read, last), NAMED)
        named = ", ".join(f"{mosaic} ({top}, {left})" for mosaic, top, left in places)
        more = f" and {count - NAMED} more" if count > NAMED else ""
        raise InputError(
            f"{what} in epoch {epoch + 1}, batch {last}, is not a finite number, so training stops and nothing of this "
            "epoch is saved; grey levels are finite, so the cause is mostly the rate or bf16: lower optim.lr (it is "
            f"{self.lr:g}), or train with trainer.precision=fp32; these patches were trained on since the last look, "
            f"the latest first (mosaic, top row and left column in px of the working grid): {named}{more}"
        )
