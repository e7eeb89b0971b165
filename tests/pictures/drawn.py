"""What the tests of pictures draw."""

import numpy as np
from numpy.typing import NDArray

YELLOW = (255, 225, 25)


def image_and_labels(shape: tuple[int, int] = (37, 53)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    labels = rng.choice(np.array([0, 1, 2, 5, 255], np.uint8), shape)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    assert image.std() > 50
    assert len(np.unique(labels)) == 5
    return image, labels
