"""A picture of a batch before and after augmentation, with labels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.augment import augment, centre_crop
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.pictures.colours import blend
from rcm_cascade.pictures.figure import Panel, compose


def batch_picture(
    datamodule: MosaicDataModule, classes: ClassTable, pixel_size_um: float | None, count: int = 4
) -> Image.Image:
    """Patches of the first epoch: as read in the upper row, as trained on in the lower.

    Args:
        datamodule: to draw from.
        classes: of its labels.
        pixel_size_um: of the working grid; None: a scale bar in px.
        count: patches shown.
    """
    batch = datamodule.example(count)
    patch = datamodule.arguments.geometry.patch
    before = centre_crop(batch["image"], patch), centre_crop(batch["labels"], patch)
    after = augment(batch["image"], batch["labels"], batch["augment"], patch)
    panels = [
        Panel(f"{when} {i + 1}", _enlarged(blend(_grey(image[i]), labels[i].numpy(), classes, 0.3)))
        for when, (image, labels) in (("as read", before), ("augmented", after))
        for i in range(len(image))
    ]
    shown = max(1, 200 // patch)
    size = pixel_size_um / shown if pixel_size_um else None
    caption = "Patches of one batch before and after augmentation; colours mark labelled pixels."
    return compose(panels, classes, pixel_size_um=size, caption=caption, unlabelled=False, columns=len(panels) // 2)


def _grey(image: Tensor) -> NDArray[np.uint8]:
    return image.float().round().clamp(0, 255).numpy().astype(np.uint8)


def _enlarged(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small patches are shown with whole-number magnification, so that their pixels can be judged."""
    times = max(1, 200 // rgb.shape[0])
    return rgb.repeat(times, axis=0).repeat(times, axis=1)
