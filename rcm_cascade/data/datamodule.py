"""The LightningDataModule: random patches to train on, fixed regions to validate on, augmented on the device."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities import suggested_max_num_workers
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.augment import augment
from rcm_cascade.data.intensity import count_values, normalise
from rcm_cascade.data.mosaic import Mosaic, labels_of
from rcm_cascade.data.patches import EpochSampler, LoadingArguments, PatchDataset, RegionDataset, Sample, SampleKey


class Batch(TypedDict):
    """What the network and the loss see."""

    image: Tensor  # (B, 1, H, W) float32, normalised
    labels: Tensor  # (B, H, W) uint8, 255 = unlabelled


REGION_SHARE = 0.2
"""Validation regions hold at most this share of an epoch's pixels: a pixel costs about a third of training it."""


class MosaicDataModule(LightningDataModule):
    """Streams patches of mosaics.

    Args:
        train: labelled mosaics to train on.
        validation: labelled mosaics to validate on; may be empty.
        num_classes: C.
        arguments: how patches are drawn and batched.
    """

    def __init__(
        self, train: Sequence[Mosaic], validation: Sequence[Mosaic], num_classes: int, arguments: LoadingArguments
    ) -> None:
        super().__init__()
        self.arguments = arguments
        self.num_classes = num_classes
        self.patches = PatchDataset(train, num_classes, arguments)
        side = arguments.region_side
        count = max(int(REGION_SHARE * self._epoch_pixels / side**2), num_classes)
        self.regions = RegionDataset(validation, side, min(count, arguments.max_regions or count), num_classes)
        self.coverage = Coverage(train, arguments.geometry.patch)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch of one process; with several, each has so many times fewer."""
        batches = -(-len(self.patches) // self.arguments.batch_size)
        return min(batches, self.arguments.steps_per_epoch or batches)

    @property
    def _rank(self) -> tuple[int, int]:
        """This process's number, and of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def validation_order(self) -> list[int]:
        """The regions that this process validates on; see `RegionDataset.order`."""
        return self.regions.order(*self._rank)

    @property
    def validate_every(self) -> int:
        """Epochs between validations, so that even the fewest regions stay within a tenth of the training time."""
        validated = len(self.regions) * self.arguments.region_side**2
        return max(1, -(-validated // max(1, int(self._epoch_pixels * REGION_SHARE * 1.5))))

    @property
    def _epoch_pixels(self) -> int:
        return self.steps_per_epoch * self.arguments.batch_size * self.arguments.geometry.patch**2

    def places(self, epoch: int, batches: range, most: int) -> tuple[list[tuple[str, int, int]], int]:
        """Where the patches of an epoch's batches lie, of all processes.

        Args:
            epoch: from 0.
            batches: their numbers in the epoch, from 0.
            most: so many are looked up, the latest first.

        Returns:
            Mosaic's name, top and left in px of the working grid; and how many patches there are in all.
        """
        sampler = EpochSampler(len(self.patches), self.arguments.seed)
        sampler.set_epoch(epoch)
        together = self.arguments.batch_size * self._rank[1]
        keys = list(sampler)[batches.start * together : batches.stop * together]
        found = (self.patches.place(key) for key in keys[::-1][:most])
        return [(self.patches.mosaics[m].name, top, left) for m, top, left, _ in found], len(keys)

    def smallest_batch(self, ranks: int) -> int:
        """Patches in the smallest batch of an epoch, which is its last, of so many processes."""
        batch, samples = self.arguments.batch_size, len(self.patches)
        whole, rest = divmod(samples, batch * ranks)
        return batch if not rest or whole >= self.steps_per_epoch else min(batch, max(1, rest // ranks))

    def class_pixels(self) -> NDArray[np.int64]:
        """Labelled pixels of each class in the training mosaics, ``(C,)``."""
        counts = [count_values(labels_of(mosaic))[: self.num_classes] for mosaic in self.patches.mosaics]
        return np.sum(counts, axis=0)  # type: ignore[no-any-return]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches of samples as read; `on_after_batch_transfer` augments them."""
        sampler = EpochSampler(len(self.patches), self.arguments.seed, *self._rank, self.arguments.batch_size)
        if self.trainer:
            # Lightning fills the workers' queues before it first calls set_epoch; a resumed run must not begin with
            # the patches of epoch 0.
            epochs_begun = self.trainer.fit_loop.epoch_progress.current
            sampler.set_epoch(epochs_begun.processed)  # type: ignore[attr-defined]  # Lightning's own count; see its type
        return self._loader(self.patches, self.arguments.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Batches of the fixed regions that are this process's, in the same order every time."""
        ratio = (self.arguments.region_side / self.arguments.geometry.patch) ** 2
        return self._loader(self.regions, max(1, int(self.arguments.batch_size / ratio)), self.validation_order())

    def _loader(
        self, dataset: Dataset[Sample], batch_size: int, sampler: EpochSampler | Sequence[int]
    ) -> DataLoader[Sample]:
        gpu, workers = self.arguments.on_gpu, self.arguments.num_workers
        if workers is None:
            started_by = getattr(self.trainer.strategy, "cluster_environment", None) if self.trainer else None
            alone = isinstance(started_by, SLURMEnvironment)  # a task of Slurm's has cores of its own
            beside = self.trainer.num_devices if self.trainer and not alone else 1
            workers = min(8, suggested_max_num_workers(beside)) if gpu else 0
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=gpu,
        )

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Counts what a training batch covers, while that is here: reading it back from a GPU would wait for it."""
        if self.trainer and self.trainer.training:
            self.coverage.add(batch["place"].numpy())
        return batch

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Batch:
        """Augments a training batch, and normalises any batch, on the device that it has been sent to."""
        training = self.trainer and self.trainer.training
        return prepare(batch, self.arguments.geometry.patch if training else self.arguments.region_side)

    def example(self, count: int, epoch: int = 0) -> Sample:
        """A batch of ``count`` samples of an epoch, spread over the mosaics, as read: for the picture of a batch."""
        indices = np.linspace(0, len(self.patches) - 1, count).astype(int)
        samples = [self.patches[SampleKey(epoch, int(i))] for i in indices]
        return torch.utils.data.default_collate(samples)  # type: ignore[no-any-return]


def prepare(batch: Sample, side: int) -> Batch:
    """Warps, crops and normalises a batch of samples, on the device it is on.

    Args:
        batch: `Sample` with a leading axis.
        side: of the result, in px.
    """
    grey, labels = augment(batch["image"], batch["labels"], batch["augment"], side)
    image = normalise(grey, batch["offset"].view(-1, 1, 1), batch["scale"].view(-1, 1, 1)).unsqueeze(1)
    return Batch(image=image, labels=labels)


class Coverage(Callback):
    """Logs how much of the labelled area of the training mosaics the patches of an epoch have covered.

    Kept on cells of an eighth of a patch, so that it costs nothing: a cell counts once its centre lies in a patch.

    Args:
        mosaics: labelled training mosaics.
        patch: side of a patch, in px.
    """

    def __init__(self, mosaics: Sequence[Mosaic], patch: int) -> None:
        self.patch, self.cell = patch, max(1, patch // 8)
        self.labelled = [_labelled_per_cell(labels_of(m), self.cell) for m in mosaics]
        self.reset()

    def reset(self) -> None:
        """Starts counting."""
        self.seen = [np.zeros(w.shape, bool) for w in self.labelled]

    def add(self, places: NDArray[np.int64]) -> None:
        """Marks a batch of patches, ``(B, 3)``: mosaic (-1: of a blank patch), top, left."""
        for m, top, left in places[places[:, 0] >= 0]:
            y0, x0, y1, x1 = (
                -((self.cell // 2 - v) // self.cell) for v in (top, left, top + self.patch, left + self.patch)
            )
            self.seen[m][max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True

    def share(self) -> float:
        """Share of the labelled px covered since the last `reset`, in [0, 1]."""
        total = sum(int(w.sum()) for w in self.labelled)
        covered = sum(int(w[s].sum()) for w, s in zip(self.labelled, self.seen, strict=True))
        return covered / max(total, 1)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting."""
        self.reset()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the share that all processes together covered, in [0, 1]."""
        marks = [torch.from_numpy(seen).to(pl_module.device, torch.uint8) for seen in self.seen]
        self.seen = [trainer.strategy.reduce(m, reduce_op="max").cpu().numpy().astype(bool) for m in marks]
        pl_module.log("train/labelled_area_covered", self.share())


def _labelled_per_cell(labels: NDArray[np.uint8], cell: int) -> NDArray[np.int64]:
    starts = [np.arange(0, side, cell) for side in labels.shape]
    rows = np.add.reduceat(np.asarray(labels) != UNLABELLED, starts[0], axis=0, dtype=np.int32)
    return np.add.reduceat(rows, starts[1], axis=1, dtype=np.int64)
