"""What loading and augmentation are measured against: the same patches as a user of MONAI would draw them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai import transforms as t
from monai.data import CacheDataset, DataLoader, get_track_meta, set_track_meta
from torch.utils.data import RandomSampler

from experiments.speed.machine import stopwatch
from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.datamodule import MosaicDataModule


class MonaiPipeline:
    """MONAI's CacheDataset and transforms on the same mosaics; a call gives the seconds of a patch.

    Decoded and normalised mosaics are cached, in memory. At random: a square as wide as ours anywhere in a mosaic
    (MONAI does not see to it that it holds a label), rotation and shear by one bicubic resampling (nearest for labels)
    that crops to the patch, two flips, a shift. Batches mix mosaics, in as many processes as ours. The cache is not
    copied for each patch, as it is unless ``copy_cache=False`` is said, for nothing is changed in place. Lazy
    resampling, which would join the affine map and the flips, fails with these transforms (MONAI 1.6).

    Args:
        datamodule: whose mosaics, sizes and processes are taken.
        batches: in a call.
        device: where batches are sent.
        metadata: whether MONAI's tensors carry affine matrices and applied operations, as they do unless told not to.
    """

    def __init__(self, datamodule: MosaicDataModule, batches: int, device: torch.device, metadata: bool) -> None:
        arguments, used = datamodule.arguments, datamodule.train_dataloader()
        self.device, self.metadata = device, metadata
        self.patches = min(batches * arguments.batch_size, len(datamodule.patches))
        mosaics = datamodule.patches.mosaics
        pictures = [{"image": np.array(m.image)[None], "label": np.array(m.labels)[None]} for m in mosaics]
        spread = float(np.mean([m.intensity.scale for m in mosaics]))
        transform = transforms(
            arguments.augmentation or Augmentation(0, 0, 0, 0),
            datamodule.patches.read_side,
            arguments.geometry.patch,
            spread,
        )
        with _metadata(metadata):
            dataset: Any = CacheDataset(pictures, transform, copy_cache=False, progress=False, num_workers=1)
        self.loader: Any = DataLoader(
            dataset,
            batch_size=arguments.batch_size,
            sampler=RandomSampler(dataset, replacement=True, num_samples=self.patches),
            num_workers=used.num_workers,
            persistent_workers=used.persistent_workers,
            pin_memory=used.pin_memory,
        )

    def __call__(self) -> float:
        """Draws them all."""
        with _metadata(self.metadata):
            started = stopwatch(self.device)
            for batch in self.loader:
                batch["image"].to(self.device, non_blocking=True)
                batch["label"].to(self.device, non_blocking=True)
            return (stopwatch(self.device) - started) / self.patches


def transforms(augmentation: Augmentation, side: int, patch: int, spread: float) -> Any:  # noqa: ANN401  # not typed
    """What MONAI does to a mosaic, before the cache and after it.

    Args:
        augmentation: the ranges.
        side: of the square that is cropped at random, in px.
        patch: side of what it is resampled to.
        spread: grey levels that are 1 in the network's input.
    """
    keys = ("image", "label")
    shear = math.tan(math.radians(augmentation.shear))
    return t.Compose(
        [
            t.EnsureTyped(("image",), dtype=torch.float32),
            t.EnsureTyped(("label",), dtype=torch.uint8),
            t.NormalizeIntensityd("image"),
            t.RandSpatialCropd(keys, (side, side), random_size=False),
            t.RandAffined(
                keys,
                prob=1.0,
                rotate_range=math.radians(augmentation.rotation),
                shear_range=(shear, shear),
                spatial_size=(patch, patch),
                mode=("bicubic", "nearest"),
                padding_mode="border",
                cache_grid=True,
            ),
            t.RandFlipd(keys, augmentation.flip, 0),
            t.RandFlipd(keys, augmentation.flip, 1),
            t.RandShiftIntensityd("image", augmentation.intensity_shift * 255 / spread, prob=1.0),
        ]
    )


@contextmanager
def _metadata(tracked: bool) -> Iterator[None]:
    before = get_track_meta()
    set_track_meta(tracked)
    try:
        yield
    finally:
        set_track_meta(before)
