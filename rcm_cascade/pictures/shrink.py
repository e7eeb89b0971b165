"""Images and label maps shrunk by whole numbers, block by block."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.resample import majority_resample

STRIP_PIXELS: Final = 2**22
"""Whole mosaics are worked through in strips of about this many pixels, so that temporaries stay small."""


def shrink_factor(shape: tuple[int, int], longest: int) -> int:
    """Smallest whole number ≥ 1 by which an image ``(H, W)`` must shrink for both sides to be at most ``longest`` px.

    Raises:
        ValueError: if ``longest`` is below 1.
    """
    if longest < 1:
        raise ValueError(f"longest is {longest}; expected at least 1 px")
    return max(1, math.ceil(max(shape) / longest))


def shrink_image(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Area average over blocks of ``factor`` × ``factor`` px.

    Args:
        image: ``(H, W)`` uint8.
        factor: at least 1.

    Returns:
        uint8 ``(ceil(H / factor), ceil(W / factor))``; blocks that the border cuts are averaged over what they hold.
    """
    if factor == 1:
        return image
    shrunk = [
        np.rint(_block_sums(strip, factor, 255) / _block_areas(strip.shape, factor)).astype(np.uint8)
        for strip in strips(image, factor)
    ]
    return np.concatenate(shrunk)


def shrink_labels(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The most frequent class among the labelled pixels of each block of ``factor`` × ``factor`` px.

    Args:
        labels: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        factor: at least 1.

    Returns:
        uint8 ``(ceil(H / factor), ceil(W / factor))``; ties as in `majority_resample`, 255 where a block has no label.
    """
    height, width = (-(-side // factor) for side in labels.shape)
    missing = height * factor - labels.shape[0], width * factor - labels.shape[1]
    padded = np.pad(labels, ((0, missing[0]), (0, missing[1])), constant_values=UNLABELLED) if any(missing) else labels
    return majority_resample(padded, (height, width)) if factor > 1 else labels


def strips(image: NDArray[np.uint8], factor: int) -> Iterator[NDArray[np.uint8]]:
    """Views of whole rows, from the top, each of about `STRIP_PIXELS`; all but the last have a multiple of ``factor``.

    Args:
        image: ``(H, W)`` uint8.
        factor: at least 1.
    """
    rows = max(1, STRIP_PIXELS // max(1, factor * image.shape[1])) * factor
    for start in range(0, image.shape[0], rows):
        yield image[start : start + rows]


def _block_sums(values: NDArray[np.uint8], factor: int, highest: int) -> NDArray[np.integer]:
    """Sums of blocks of values that are at most ``highest``, in the smallest integers that hold them."""
    # Whole rows are added first, in runs of memory; adding the columns then steps through a fraction of the pixels.
    down = np.zeros((-(-values.shape[0] // factor), values.shape[1]), np.min_scalar_type(highest * factor))
    for offset in range(min(factor, values.shape[0])):
        rows = values[offset::factor]
        down[: len(rows)] += rows
    sums = np.zeros((len(down), -(-down.shape[1] // factor)), np.min_scalar_type(highest * factor**2))
    for offset in range(min(factor, down.shape[1])):
        columns = down[:, offset::factor]
        sums[:, : columns.shape[1]] += columns
    return sums


def _block_areas(shape: tuple[int, ...], factor: int) -> NDArray[np.int64]:
    sides = [np.minimum(factor, side - np.arange(0, side, factor)) for side in shape]
    return np.outer(sides[0], sides[1])
