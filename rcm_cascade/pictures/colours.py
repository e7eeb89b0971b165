"""Label maps in colour, alone or laid over their image."""

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable


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
        ValueError: if the shapes differ.
    """
    if image.shape != labels.shape:
        raise ValueError(f"image is {image.shape} and labels are {labels.shape}; expected one shape (H, W)")
    grey = np.arange(256.0)[np.newaxis, :, np.newaxis]
    opacities = np.full((256, 1, 1), opacity)
    opacities[UNLABELLED] = 0
    mixed = np.rint(grey * (1 - opacities) + classes.palette()[:, np.newaxis, :] * opacities)
    # One look-up for each pair of label and grey level: no floating copy of the mosaic.
    table: NDArray[np.uint8] = mixed.astype(np.uint8)
    result: NDArray[np.uint8] = table[labels, image]
    return result
