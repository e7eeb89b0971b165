"""Label maps in colour, alone or laid over their image, and both shrunk for pictures."""

import math

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.resample import majority_resample, resize_image


def colorize(labels: NDArray[np.uint8], classes: ClassTable) -> NDArray[np.uint8]:
    """Class colours of a label map: ``(H, W)`` uint8 to ``(H, W, 3)`` uint8 RGB; unlabelled is yellow."""
    return np.take(classes.palette(), labels, axis=0)


def grey_to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(H, W)`` uint8 grey to ``(H, W, 3)`` uint8 RGB."""
    return np.repeat(image[:, :, np.newaxis], 3, axis=2)


def blend(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: ClassTable, opacity: float = 0.4
) -> NDArray[np.uint8]:
    """Class colours laid over the grey image; unlabelled pixels stay grey.

    Args:
        image: ``(H, W)`` uint8.
        labels: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        classes: the class table.
        opacity: of the colours, in ``[0, 1]``.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        IndexError: if the shapes differ.
    """
    grey = np.arange(256.0)[np.newaxis, :, np.newaxis]
    opacities = np.full((256, 1, 1), opacity)
    opacities[UNLABELLED] = 0
    mixed = np.rint(grey * (1 - opacities) + classes.palette()[:, np.newaxis, :] * opacities)
    # One look-up for each pair of label and grey level: no floating copy of the mosaic.
    table: NDArray[np.uint8] = mixed.astype(np.uint8)
    result: NDArray[np.uint8] = table[labels, image]
    return result


def shrink_factor(shape: tuple[int, int], longest: int) -> int:
    """Smallest whole number ≥ 1 by which an image ``(H, W)`` must shrink for both sides to be at most ``longest`` px.

    Args:
        shape: of the image.
        longest: at least 1.
    """
    return max(1, math.ceil(max(shape) / longest))


def shrink_image(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Area averages of ``(H, W)`` uint8 at ``ceil(H / factor)`` × ``ceil(W / factor)`` px.

    Where a side is no multiple of the factor, it shrinks a little less; labels shrink by as much.
    """
    return resize_image(image, _shrunk(image, factor))


def shrink_labels(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The class with the largest area among the labelled part of each pixel of the same size as `shrink_image` gives.

    Args:
        labels: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        factor: at least 1.

    Returns:
        uint8; ties as in `majority_resample`, 255 where a pixel has no labelled part.
    """
    return majority_resample(labels, _shrunk(labels, factor)) if factor > 1 else labels


def _shrunk(pixels: NDArray[np.uint8], factor: int) -> tuple[int, int]:
    return math.ceil(pixels.shape[0] / factor), math.ceil(pixels.shape[1] / factor)
