"""The regions that a reader should look at first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from rcm_cascade.pictures.shrink import strips

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
        runs: ``(3, runs)`` int64: row, first column, and the column behind the last, from the top; far smaller than a
            mask of a mosaic.
        centroid: row and column of its centre of mass, in px of the label map.
    """

    label: int
    pixels: int
    top: int
    left: int
    height: int
    width: int
    runs: NDArray[np.int64]
    centroid: tuple[float, float]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``(height, width)`` of the bounding box, bool; drawn anew each time."""
        inside = np.zeros((self.height, self.width + 1), np.int8)
        row, start, stop = self.runs
        inside[row - self.top, start - self.left] = 1
        inside[row - self.top, stop - self.left] = -1
        return np.cumsum(inside, axis=1, dtype=np.int8, out=inside)[:, :-1].view(np.bool_)

    def shares(self, factor: int) -> tuple[int, int, NDArray[np.float64]]:
        """Its share of each block of ``factor`` × ``factor`` px, blocks being counted from the label map's corner.

        Returns:
            Row and column of the first block, and shares in ``[0, 1]`` of just as many as hold the region.
        """
        sums = self.mask
        for axis, (first, size) in enumerate(((self.top, self.height), (self.left, self.width))):
            starts = np.arange(-(first % factor), size, factor).clip(min=0)
            sums = np.add.reduceat(sums, starts, axis=axis, dtype=np.int32)
        return self.top // factor, self.left // factor, sums / factor**2


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
    pitch = labels.shape[1] + 1
    starts, stops = _runs(labels, label)
    # Runs are few where pixels are many: they are the nodes of the graph, and the runs that touch them in the row above
    # their neighbours, which follow each other.
    first = np.searchsorted(stops, starts - pitch)
    degree = np.searchsorted(starts, stops - pitch, side="right") - first
    ends = np.cumsum(degree)
    neighbours = np.arange(degree.sum()) + np.repeat(first - (ends - degree), degree)
    edges = (np.ones(len(neighbours), np.int8), neighbours, np.concatenate([[0], ends]))
    number, component = connected_components(csr_array(edges, shape=(len(starts), len(starts))), directed=False)
    areas = np.bincount(component, weights=stops - starts, minlength=number)
    found = []
    for one in np.argsort(-areas, kind="stable")[:COUNT]:
        row, start = np.divmod(starts[component == one], pitch)
        length, pixels = (stops - starts)[component == one], int(areas[one])
        stop, top, left = start + length, int(row[0]), int(start.min())
        centroid = int((row * length).sum()) / pixels, int(((start + stop - 1) * length // 2).sum()) / pixels
        height, width = int(row[-1]) - top + 1, int(stop.max()) - left
        found.append(LabelRegion(label, pixels, top, left, height, width, np.stack([row, start, stop]), centroid))
    return found


def _runs(labels: NDArray[np.uint8], label: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of a class begin and end along rows: both ``row * (W + 1) + column``, the end behind the last."""
    pitch = labels.shape[1] + 1
    changes, position = [np.zeros(0, np.int64)], 0
    for strip in strips(labels, 1):
        # One column more on the left, never of the class: no run goes on into the next row, or strip.
        inside = np.zeros((len(strip), pitch), bool)
        np.equal(strip, label, out=inside[:, 1:])
        flat = inside.reshape(-1)
        changes.append(np.flatnonzero(flat[1:] != flat[:-1]) + position)
        if flat[-1]:
            changes.append(np.array([position + len(flat) - 1]))
        position += len(flat)
    alternating = np.concatenate(changes)
    return alternating[::2].copy(), alternating[1::2].copy()
