"""When training ends, beside the number of epochs and the time that Lightning counts."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class StopAtStep(Callback):
    """Ends training after so many steps of the optimiser, within an epoch if need be.

    Args:
        steps: of the whole run, however often it is resumed.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """As a `Timer` does: Lightning's own limit would end an epoch without validating."""
        if trainer.global_step >= self.steps:
            trainer.should_stop = True
