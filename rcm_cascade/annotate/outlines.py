"""Regions of a label map as polygons along pixel edges: burnt again, they are the label map bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.intensity import count_values
from rcm_cascade.errors import InputError

EDGES_AT_ONCE: Final = 2**22
"""Pixel edges between classes in a block: a smooth map is one block, and what noise needs of memory has a bound."""

ROWS: Final = 256
"""That are counted at once."""

Ring = list[tuple[float, float]]
"""Corners, x to the right and y down in px, 0 being the outer edge of the first pixel; the last is the first again."""


@dataclass(frozen=True)
class Outline:
    """A connected region of one class; pixels that touch at a corner alone are two.

    Args:
        label: class id.
        pixels: its area in px.
        entropy: mean over its pixels, in ``[0, 1]``; None: not known.
        rings: its outline, and those of its holes.
    """

    label: int
    pixels: int
    entropy: float | None
    rings: list[Ring]


def outlines(labels: NDArray[np.uint8], entropy: NDArray[np.uint8] | None = None) -> Iterator[Outline]:
    """The regions of a label map, from top to bottom; unlabelled pixels are of none.

    A map of so many regions that they would not fit into memory is cut into blocks of rows, and its regions with it.

    Args:
        labels: ``(H, W)``.
        entropy: ``(H, W)``, 255 being the highest there is; None: not known.

    Raises:
        InputError: if rasterio is not installed.
    """
    try:
        from rasterio import features
    except ImportError as error:
        raise InputError("outlines need rasterio; install it with `pip install 'rcm-cascade[qupath]'`") from error
    for rows in _blocks(labels):
        block = labels[rows]
        regions, ids = _regions(block)
        pixels, unsure = _measured(regions, None if entropy is None else entropy[rows], len(ids))
        # With four neighbours each polygon is valid: its rings touch in points, if at all.
        for geometry, number in features.shapes(regions, mask=block != UNLABELLED, connectivity=4):
            region = int(number)
            rings = [[(x, y + rows.start) for x, y in ring] for ring in geometry["coordinates"]]
            mean = None if entropy is None else float(unsure[region])
            yield Outline(int(ids[region]), int(pixels[region]), mean, rings)


def _blocks(labels: NDArray[np.uint8]) -> Iterator[slice]:
    """Rows that are worked on at once."""
    start, edges = 0, 0
    for row in range(0, len(labels), ROWS):
        part = labels[row : row + ROWS]
        here = int((part[1:] != part[:-1]).sum() + (part[:, 1:] != part[:, :-1]).sum())
        if edges and edges + here > EDGES_AT_ONCE:
            yield slice(start, row)
            start, edges = row, 0
        edges += here
    yield slice(start, len(labels))


def _regions(block: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The number of each pixel's region, ``(H, W)``, and the class id of each region."""
    numbers, ids = np.zeros(block.shape, np.int32), np.zeros(0, np.uint8)
    for label in np.flatnonzero(count_values(block)):
        mask = block == label
        count, found = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
        found += len(ids) - 1  # 0 is what is of another class
        np.copyto(numbers, found, where=mask)
        ids = np.append(ids, np.full(count - 1, label, np.uint8))
    return numbers, ids


def _measured(
    regions: NDArray[np.int32], entropy: NDArray[np.uint8] | None, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Area of each region in px, and its mean entropy, 0 where that is not known."""
    pixels, sums = np.zeros(count, np.int64), np.zeros(count)
    for row in range(0, len(regions), ROWS):
        part = regions[row : row + ROWS].ravel()
        pixels += np.bincount(part, minlength=count)
        if entropy is not None:
            sums += np.bincount(part, weights=entropy[row : row + ROWS].ravel(), minlength=count)
    return pixels, sums / pixels / 255
