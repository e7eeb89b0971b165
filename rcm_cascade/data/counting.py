"""How often each value is in a map that need not fit into memory."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

STRIP_PIXELS: Final = 2**22
"""Pixels counted at a time: bincount copies its input to 8 bytes a pixel, which a 144 MP mosaic cannot afford."""


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
