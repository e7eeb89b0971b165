"""Images and label maps shrunk by whole numbers, for pictures."""

import math

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.resample import majority_resample, resize_image


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
