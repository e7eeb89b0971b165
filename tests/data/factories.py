"""Mosaics in memory, for tests that need no files."""

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.intensity import measure
from rcm_cascade.data.mosaic import Mosaic


def memory_mosaic(image: NDArray[np.uint8], labels: NDArray[np.uint8] | None, name: str = "m") -> Mosaic:
    """A mosaic that is in no file."""
    return Mosaic(name, name, "", image, labels, measure(image), image, labels)


def textured(
    height: int, width: int, seed: int = 0, classes: int = 3, unlabelled: float = 0.3
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image whose classes differ in brightness, and its partial label map in blocks of 16 px, 4 in small ones."""
    rng = np.random.default_rng(seed)
    side = 16 if min(height, width) > 100 else 4
    blocks = rng.integers(0, classes, (-(-height // side), -(-width // side)))
    truth = np.kron(blocks, np.ones((side, side), np.uint8))[:height, :width].astype(np.uint8)
    image = (40 + 60 * truth + rng.integers(0, 40, truth.shape)).astype(np.uint8)
    hidden = np.kron(rng.random(blocks.shape) < unlabelled, np.ones((side, side), bool))[:height, :width]
    labels = np.where(hidden, 255, truth).astype(np.uint8)
    assert len(np.unique(labels)) == classes + 1
    return image, labels
