"""Polygons along any line into pixels: a pixel belongs to the polygon that its centre lies in."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.importers.source import unlabelled

Rings = Sequence[NDArray[np.float64]]
"""Outline and holes, each ``(N, 2)``: x to the right and y down in px, 0 being the outer edge of the first pixel."""

STRIP_PIXELS: Final = 2**24
"""Px that are worked on at once."""


def inside(rings: Rings, shape: tuple[int, int]) -> list[tuple[slice, slice, NDArray[np.bool_]]]:
    """Pixels whose centre lies inside an odd number of rings.

    Args:
        rings: closed or not.
        shape: height and width of the mosaic in px; what lies outside is cut off.

    Returns:
        Strips from top to bottom: their rows and columns, and the pixels inside.
    """
    height, width = shape
    points = np.concatenate([np.asarray(r, np.float64) for r in rings])
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    rows = slice(int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height)))
    cols = slice(int(np.clip(left, 0, width)), int(np.clip(right, 0, width)))
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return []
    edges = np.concatenate([_edges(np.asarray(r, np.float64)) for r in rings])
    step = max(1, STRIP_PIXELS // (cols.stop - cols.start))
    found = []
    for start in range(rows.start, rows.stop, step):
        strip = slice(start, min(start + step, rows.stop))
        found.append((strip, cols, _scan(edges, strip, cols)))
    return found


def burn(shapes: list[tuple[float, int, Rings]], shape: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
    """Areas into a label map, the smallest on top; of equal ones the later.

    Args:
        shapes: area in px, class id and rings of each.
        shape: height and width in px.

    Returns:
        Labels, and how many pixels changed their class on the way.
    """
    labels, overlaps = unlabelled(shape), 0
    for _, id_, rings in sorted(shapes, key=lambda each: -each[0]):
        for rows, cols, pixels in inside(rings, shape):
            part = labels[rows, cols]
            overlaps += int((pixels & (part != UNLABELLED) & (part != id_)).sum())
            part[pixels] = id_
    return labels, overlaps


def area(rings: Rings) -> float:
    """Of the first ring less the others, in px."""
    areas = [abs(_shoelace(np.asarray(r, np.float64))) for r in rings]
    return areas[0] - sum(areas[1:])


def _shoelace(ring: NDArray[np.float64]) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _edges(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, 4)``: x, y of the upper and of the lower end; level edges cross no row of centres."""
    edges = np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1)
    edges = edges[edges[:, 1] != edges[:, 3]]
    down = edges[:, 1] < edges[:, 3]
    upright: NDArray[np.float64] = np.where(down[:, None], edges, edges[:, [2, 3, 0, 1]])
    return upright


def _scan(edges: NDArray[np.float64], rows: slice, cols: slice) -> NDArray[np.bool_]:
    height, width = rows.stop - rows.start, cols.stop - cols.start
    # An edge crosses the rows whose centre is at its upper end or below, and above its lower end.
    first = np.clip(np.ceil(edges[:, 1] - 0.5), rows.start, rows.stop).astype(np.int64)
    stop = np.clip(np.ceil(edges[:, 3] - 0.5), rows.start, rows.stop).astype(np.int64)
    counts = stop - first
    crossing = counts > 0
    edges, first, counts = edges[crossing], first[crossing], counts[crossing]
    which = np.repeat(np.arange(len(edges)), counts)
    row = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    x0, y0, x1, y1 = edges[which].T
    x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    col = np.clip(np.ceil(x - 0.5), cols.start, cols.stop).astype(np.int64) - cols.start
    # A crossing turns inside into outside and back, for all pixels to its right.
    turns: NDArray[Any] = np.bincount((row - rows.start) * (width + 1) + col, minlength=height * (width + 1))
    odd: NDArray[np.bool_] = np.cumsum(turns.reshape(height, width + 1)[:, :width] & 1, axis=1, dtype=np.uint8) & 1 == 1
    return odd
