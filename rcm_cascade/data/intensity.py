"""Grey levels: counted, brought to 8 bit, to zero mean and unit spread, all per mosaic and never per tile."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Normalisation = Literal["mosaic", "none"]
"""``mosaic``: minus the mosaic's mean, over its standard deviation; ``none``: grey level over 255."""

LOW_QUANTILE, HIGH_QUANTILE = 0.001, 0.999

STRIP_PIXELS: Final = 2**22
"""Pixels counted at a time: bincount copies its input to 8 bytes a pixel, which a 144 MP mosaic cannot afford."""


@dataclass(frozen=True)
class Intensity:
    """How a mosaic's grey levels become network input: ``(grey - offset) / scale``."""

    offset: float
    scale: float


def to_uint8(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8-bit grey levels of an image ``(H, W)``.

    uint8 comes back as it is. uint16 is stretched linearly from its 0.1 % to its 99.9 % quantile onto 0–255 (12-bit
    cameras leave most of the range empty), so the result depends on the whole mosaic and on nothing else.

    Raises:
        TypeError: for another dtype.
    """
    if image.dtype == np.uint8:
        return image.view(np.uint8)
    if image.dtype != np.uint16:
        raise TypeError(f"image has dtype {image.dtype}; expected uint8 or uint16")
    histogram = count_values(image, 65536)
    cumulative = np.cumsum(histogram) / max(image.size, 1)
    low = int(np.searchsorted(cumulative, LOW_QUANTILE))
    high = max(int(np.searchsorted(cumulative, HIGH_QUANTILE)), low + 1)
    table = np.clip(np.rint((np.arange(65536) - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    result: NDArray[np.uint8] = table[image]
    return result


def measure(image: NDArray[np.uint8], normalisation: Normalisation = "mosaic") -> Intensity:
    """Offset and scale of a whole mosaic ``(H, W)`` uint8, exact, from its histogram.

    A constant image has scale 1 rather than 0.
    """
    if normalisation == "none":
        return Intensity(0.0, 255.0)
    histogram = count_values(image)
    levels = np.arange(256)
    mean = float((histogram * levels).sum() / histogram.sum())
    variance = float((histogram * (levels - mean) ** 2).sum() / histogram.sum())
    return Intensity(mean, variance**0.5 or 1.0)


def normalise(grey: Tensor, offset: float | Tensor, scale: float | Tensor) -> Tensor:
    """Network input for grey levels of a floating dtype: ``(grey - offset) / scale``, broadcast."""
    return (grey - offset) / scale


def count_values(values: NDArray[Any], bins: int = 256) -> NDArray[np.int64]:
    """Counts the values 0 … ``bins`` - 1 of a map.

    Args:
        values: ``(H, W)``, an integer dtype; may be memory-mapped.
        bins: above the largest value.

    Returns:
        ``(bins,)`` int64.
    """
    counts = np.zeros(bins, np.int64)
    rows = max(1, STRIP_PIXELS // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        strip = values[start : start + rows]
        if values.dtype == np.uint8:  # needs no copy; its counts are float32: exact below 2**24
            counts += cv2.calcHist([strip], [0], None, [bins], [0, bins]).reshape(-1).astype(np.int64)
        else:
            counts += np.bincount(strip.reshape(-1), minlength=bins)
    return counts
