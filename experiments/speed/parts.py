"""Training's parts apart: the real pipeline, the same steps without loading or augmentation, and these two alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Final

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from experiments.speed.machine import stopwatch
from rcm_cascade.data.datamodule import Batch, MosaicDataModule, prepare
from rcm_cascade.data.patches import Sample

WARMUP: Final = 2
"""Steps at the beginning of a run that never count: they allocate memory."""


def warm_up(datamodule: MosaicDataModule) -> int:
    """Steps at the beginning of a run that do not count: `WARMUP`, and those whose batches were loaded before it."""
    loader = datamodule.train_dataloader()
    return WARMUP + loader.num_workers * (loader.prefetch_factor or 0)


@dataclass(frozen=True)
class Pace:
    """How fast a run went.

    Args:
        step_s: seconds a step.
        waiting: share of them between the end of a step and the beginning of the next, [0, 1]: when the device does no
            work of the network's.
    """

    step_s: float
    waiting: float


class StepClock(Callback):
    """Marks the steps of a run without stopping the device: by the device's own events on a GPU.

    Stands first among the callbacks, so that what the others do between steps counts as between steps.

    Args:
        warmup: steps at the beginning that do not count, 1 or more.
    """

    def __init__(self, warmup: int = WARMUP) -> None:
        self.warmup = warmup
        self._begun: list[Any] = []
        self._ended: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """The batch is there, augmented; the step begins."""
        self._begun.append(_mark(pl_module.device))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """The weights are updated."""
        self._ended.append(_mark(pl_module.device))

    def pace(self) -> Pace:
        """Of all steps but the first.

        Raises:
            ValueError: if there was none.
        """
        begun, ended = self._begun[self.warmup :], self._ended[self.warmup - 1 :]
        if not begun or len(ended) != len(begun) + 1:
            raise ValueError(f"{len(self._ended)} steps were taken; expected more than {self.warmup}")
        whole = sum(_seconds(a, b) for a, b in pairwise(ended))
        between = sum(_seconds(end, begin) for end, begin in zip(ended, begun, strict=False))
        return Pace(whole / len(begun), between / whole)


def _mark(device: torch.device) -> Any:  # noqa: ANN401  # seconds, or an event of the device's
    if device.type != "cuda":
        return time.perf_counter()
    event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _seconds(begin: Any, end: Any) -> float:  # noqa: ANN401
    if isinstance(begin, float):
        return float(end - begin)
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


class ResidentBatch(MosaicDataModule):
    """One batch, augmented and on the device, again and again: the ceiling of the real pipeline.

    As nnU-Net's trainer without data loading.

    Args:
        real: whose mosaics these would be.
        batch: as the network sees it.
    """

    def __init__(self, real: MosaicDataModule, batch: Batch) -> None:
        LightningDataModule.__init__(self)  # windows are not counted again
        self.arguments, self.num_classes = real.arguments, real.num_classes
        self.patches, self.regions, self.coverage = real.patches, real.regions, real.coverage
        self.batch = batch

    def train_dataloader(self) -> DataLoader[Any]:
        """The batch, as often as an epoch has batches."""
        return DataLoader([self.batch] * self.steps_per_epoch, batch_size=None)  # type: ignore[arg-type]

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Nothing: it has no place."""
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:  # noqa: ANN401
        """Nothing: it is what the network sees."""
        return batch  # type: ignore[no-any-return]


def augmenting(raw: Sample, patch: int, times: int) -> Callable[[], float]:
    """Augments a batch that is on the device, so many times; gives the seconds of a patch."""
    device = raw["image"].device

    def run() -> float:
        started = stopwatch(device)
        for _ in range(times):
            prepare(raw, patch)
        return (stopwatch(device) - started) / (times * len(raw["image"]))

    return run


class Loading:
    """Loads the first batches of an epoch through the loader that training uses; a call gives the seconds of a patch.

    The loader has no more than these batches, so that its processes do not go on loading while others are timed.

    Args:
        datamodule: of the run.
        batches: how many.
        device: where batches are sent.
        augmented: whether they are sent and augmented, too.
    """

    def __init__(self, datamodule: MosaicDataModule, batches: int, device: torch.device, augmented: bool) -> None:
        used = datamodule.train_dataloader()
        keys = list(islice(used.sampler, batches * datamodule.arguments.batch_size))
        self.patches, self.patch = len(keys), datamodule.arguments.geometry.patch
        self.device, self.augmented = device, augmented
        self.loader = DataLoader(
            used.dataset,
            batch_size=used.batch_size,
            sampler=keys,
            num_workers=used.num_workers,
            persistent_workers=used.persistent_workers,
            pin_memory=used.pin_memory,
            collate_fn=used.collate_fn,
        )

    def __call__(self) -> float:
        """Loads them all."""
        started = stopwatch(self.device)
        for batch in self.loader:
            if self.augmented:
                prepare(move_data_to_device(batch, self.device), self.patch)
        return (stopwatch(self.device) - started) / self.patches


def epoch_steps(datamodule: MosaicDataModule, wanted: int) -> int:
    """Steps that are timed: as wanted, or as many as an epoch has behind its `warm_up`; 0 or less: too few."""
    return min(wanted, datamodule.steps_per_epoch - warm_up(datamodule))


def fitted(
    trainer: Callable[[Sequence[Callback]], Trainer],
    module: LightningModule,
    datamodule: MosaicDataModule,
    warmup: int = WARMUP,
) -> Pace:
    """Trains, and tells how fast.

    Args:
        trainer: makes a Trainer that calls these callbacks first.
        module: goes on training.
        datamodule: real, or a `ResidentBatch`.
        warmup: steps at the beginning that do not count.
    """
    clock = StepClock(warmup)
    trainer([clock]).fit(module, datamodule)
    return clock.pace()
