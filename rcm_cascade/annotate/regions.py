"""The regions that a reader should look at first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.annotate.fields import Fields

LOOK_FIRST: Final = ("nested", "patternless")
"""Classes in which melanoma shows; class tables without these names have no regions to look at first."""

COUNT: Final = 5

LEAST_SHARE: Final = 0.02
"""Of the largest region's area: smaller ones are specks beside it."""


@dataclass(frozen=True, eq=False)
class LabelRegion:
    """A connected region of one class.

    Args:
        label: class id.
        pixels: its area in px.
        top: first row of its bounding box.
        left: first column of its bounding box.
        height: rows of its bounding box.
        width: columns of its bounding box.
        bits: of the mask, ``(height, ceil(width / 8))`` uint8: an eighth of it, of a mosaic of 144 megapixels.
        centroid: row and column of its centre of mass, in px of the label map.
    """

    label: int
    pixels: int
    top: int
    left: int
    height: int
    width: int
    bits: NDArray[np.uint8]
    centroid: tuple[float, float]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(height, width)`` of the bounding box, bool; drawn anew each time."""
        return np.unpackbits(self.bits, axis=1, count=self.width).view(np.bool_)

    def mean_of(self, values: NDArray[np.uint8]) -> float:
        """Mean over its pixels of a map ``(H, W)``."""
        inside = values[self.top : self.top + self.height, self.left : self.left + self.width][self.mask]
        return float(inside.mean())

    def most_in(self, fields: Fields, ids: Sequence[int]) -> int:
        """The most of some classes that dominate a field of its bounding box or one of that field's neighbours."""
        rows, cols = (
            slice(int(np.searchsorted(edges, first, "right")) - 1, int(np.searchsorted(edges, first + size, "left")))
            for edges, first, size in ((fields.tops, self.top, self.height), (fields.lefts, self.left, self.width))
        )
        return int(fields.patterns_around(ids)[rows, cols].max())

    def shares(self, factor: int) -> tuple[int, int, NDArray[np.float64]]:
        """Its share of each block of ``factor`` × ``factor`` px, blocks being counted from the label map's corner.

        Returns:
            Row and column of the first block, and shares in ``[0, 1]`` of just as many as hold the region.
        """
        sides = (self.top, self.height), (self.left, self.width)
        blocks = np.pad(self.mask, [(first % factor, -(first + size) % factor) for first, size in sides])
        shares = blocks.reshape(len(blocks) // factor, factor, -1, factor).mean(axis=(1, 3))
        return self.top // factor, self.left // factor, shares

    def shown(self, factor: int) -> tuple[int, int, NDArray[np.uint8]]:
        """Its blocks in a picture, as `shares` has them: one is inside if at least half of it is, and one at least."""
        top, left, shares = self.shares(factor)
        return top, left, (shares >= min(0.5, shares.max())).astype(np.uint8)


def largest_regions(labels: NDArray[np.uint8], ids: Sequence[int]) -> list[LabelRegion]:
    """The largest connected regions (touching at a corner counts) of some classes, largest first.

    Args:
        labels: ``(H, W)`` uint8.
        ids: of the classes.

    Returns:
        At most `COUNT`, none below `LEAST_SHARE` of the first; of equals, the one that begins higher comes first.
    """
    found = [region for label in ids for region in _largest_of(labels, label)]
    found.sort(key=lambda region: -region.pixels)
    return [region for region in found[:COUNT] if region.pixels >= LEAST_SHARE * found[0].pixels]


def _largest_of(labels: NDArray[np.uint8], label: int) -> list[LabelRegion]:
    # The mask has no name, so that it goes before regions are taken out of the components, four times as large.
    _, components, stats, centroids = cv2.connectedComponentsWithStats((labels == label).view(np.uint8), connectivity=8)
    # Component 0 is what does not belong to the class.
    order = 1 + np.lexsort((stats[1:, cv2.CC_STAT_TOP], -stats[1:, cv2.CC_STAT_AREA]))[:COUNT]
    found = []
    for one in order:
        left, top, width, height, pixels = (int(value) for value in stats[one])
        bits = np.packbits(components[top : top + height, left : left + width] == one, axis=1)
        centroid = float(centroids[one, 1]), float(centroids[one, 0])
        found.append(LabelRegion(label, pixels, top, left, height, width, bits, centroid))
    return found
