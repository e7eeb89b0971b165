"""The regions that a reader should look at first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LOOK_FIRST: Final = ("nested", "patternless")
"""Classes in which melanoma shows; class tables without these names have no regions to look at first."""

COUNT: Final = 5

LEAST_SHARE: Final = 0.02
"""Of the largest region's area: smaller ones are specks beside it."""


@dataclass(frozen=True, eq=False)
class Region:
    """A connected region of one class.

    Args:
        label: class id.
        pixels: its area in px.
        top: first row of its bounding box.
        left: first column of its bounding box.
        mask: ``(height, width)`` of the bounding box, bool.
        centroid: row and column of its centre of mass, in px of the label map.
    """

    label: int
    pixels: int
    top: int
    left: int
    mask: NDArray[np.bool_]
    centroid: tuple[float, float]


def largest_regions(labels: NDArray[np.uint8], ids: Sequence[int]) -> list[Region]:
    """The largest connected regions (touching at a corner counts) of some classes, largest first.

    Args:
        labels: ``(H, W)`` uint8.
        ids: of the classes.

    Returns:
        At most `COUNT`, none below `LEAST_SHARE` of the first.
    """
    found = [region for label in ids for region in _largest_of(labels, label)]
    found.sort(key=lambda region: -region.pixels)
    return [region for region in found[:COUNT] if region.pixels >= LEAST_SHARE * found[0].pixels]


def _largest_of(labels: NDArray[np.uint8], label: int) -> list[Region]:
    mask = (labels == label).astype(np.uint8)
    _, components, stats, centroids = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    areas = stats[1:, cv2.CC_STAT_AREA]
    regions = []
    for component in np.argsort(-areas, kind="stable")[:COUNT] + 1:
        left, top, width, height = (int(value) for value in stats[component, :4])
        inside = components[top : top + height, left : left + width] == component
        column, row = (float(value) for value in centroids[component])
        regions.append(Region(label, int(areas[component - 1]), top, left, inside, (row, column)))
    return regions
