"""Eight-bit drawings of lines and spots on a grid, to be read as floats at any pitch, some rows at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.cells import SUBPIXEL_BITS, to_subpixels
from rcm_cascade.phantom.fields import Field, Float, Grid

STRIP_PX = 500_000
"""Pixels worked on at once in floats."""

FINEST_UM = 2.0
"""Lines are drawn at this pitch or a finer one, then averaged, so that a coarse grid does not widen them."""

EDGE_PX, THINNEST_PX = 0.65, 2.4
"""cv2 draws a polygon so much larger on every side, and none narrower than this."""

NARROW_UM, PIECE = 75.0, 12
"""Wider lines are drawn in pieces of so many points."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ribbon:
    """A line of varying width.

    Args:
        points: ``(N, 2)`` µm (y, x).
        across: `sides` of the line.
        left: ``(N,)`` µm from the line to its one edge.
        right: to the other.
    """

    points: Array
    across: Array
    left: Array
    right: Array

    @property
    def width(self) -> Array:
        """µm, ``(N,)``."""
        return self.left + self.right

    def outlines(self, inset_um: float) -> list[Array]:
        """Corners ``(M, 2)`` of its pieces, edges drawn in; in one piece a wide line would have holes in its bends."""
        left, right = (np.maximum(edge - inset_um, 0.01)[:, None] for edge in (self.left, self.right))
        first, second = self.points + self.across * left, self.points - self.across * right
        length = len(first) if self.width.max() < NARROW_UM else PIECE
        return [
            np.concatenate([first[start : start + length + 1], second[start : start + length + 1][::-1]])
            for start in range(0, len(first) - 1, length)
        ]


@dataclass(frozen=True)
class Spot:
    """A box of a grid round a point.

    Args:
        rows: of the grid.
        columns: of the grid.
        y: ``(rows, 1)`` float32, µm down from the point.
        x: ``(1, columns)`` float32, µm right of the point.
    """

    rows: slice
    columns: slice
    y: Float
    x: Float


class Canvas:
    """Values from 0 to ``most``, kept as ``255 * (value / most) ** (1 / power)`` in 8 bits."""

    def __init__(self, grid: Grid, most: float = 1.0, power: int = 1) -> None:
        self.grid = grid
        self._most, self._power = most, power
        self._codes = np.zeros(grid.shape, np.uint8)

    def fill(self, ribbons: Sequence[Ribbon], values: Sequence[float]) -> None:
        """Draws lines, edges anti-aliased, the higher values over the lower ones."""
        factor = max(1, math.ceil(self.grid.pitch_um / FINEST_UM - 1e-6))
        height, width = self.grid.shape
        drawn = np.zeros((height * factor, width * factor), np.uint8)
        pitch = self.grid.pitch_um / factor
        size = np.array(self.grid.size_um)
        for index in np.argsort(np.asarray(values), kind="stable"):
            ribbon = ribbons[index]
            reach = ribbon.width.max()
            if (ribbon.points.max(axis=0) < -reach).any() or (ribbon.points.min(axis=0) > size + reach).any():
                continue
            thinness = min(1.0, float(ribbon.width.mean()) / pitch / THINNEST_PX)
            level = int(self._code(np.float32(values[index] * thinness)))
            for outline in ribbon.outlines(EDGE_PX * pitch):
                corners = to_subpixels(outline, pitch)
                cv2.fillPoly(drawn, [corners], level, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
        if factor > 1:
            drawn = np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        np.maximum(self._codes, drawn, out=self._codes)

    def soften(self, sigma_um: float) -> None:
        """Gaussian blur in µm."""
        sigma = sigma_um / self.grid.pitch_um
        if sigma >= 0.2:
            cv2.GaussianBlur(self._codes, (0, 0), sigma, dst=self._codes, borderType=cv2.BORDER_REFLECT)

    def spot(self, centre_um: NDArray[np.float64], reach_um: float) -> Spot | None:
        """The box that reaches ``reach_um`` from a point (y, x); None where it misses the grid."""
        pitch = self.grid.pitch_um
        first = [max(0, math.floor((place - reach_um) / pitch)) for place in centre_um]
        last = [
            min(limit, math.ceil((place + reach_um) / pitch))
            for place, limit in zip(centre_um, self.grid.shape, strict=True)
        ]
        if first[0] >= last[0] or first[1] >= last[1]:
            return None
        y, x = (
            ((np.arange(low, high) + 0.5) * pitch - place).astype(np.float32)
            for low, high, place in zip(first, last, centre_um, strict=True)
        )
        return Spot(slice(first[0], last[0]), slice(first[1], last[1]), y[:, None], x[None])

    def cover(self, rows: slice, columns: slice, values: Float) -> None:
        """Raises a part of the canvas to ``values`` where they are higher."""
        part = self._codes[rows, columns]
        np.maximum(part, self._code(values), out=part)

    def put(self, rows: slice, values: Float) -> None:
        """Replaces some whole rows."""
        self._codes[rows] = self._code(values)

    def strips(self) -> Iterator[slice]:
        """All rows in parts small enough to be worked on in floats."""
        height = max(1, STRIP_PX // self.grid.width)
        for top in range(0, self.grid.height, height):
            yield slice(top, min(top + height, self.grid.height))

    def on(self, target: Grid, rows: slice = slice(None)) -> Float:
        """Bilinear values on some rows of a grid, ``(rows, W)`` float32."""
        pitch = self.grid.pitch_um
        top, bottom, _ = rows.indices(target.height)
        first = max(0, min(math.floor(top * target.pitch_um / pitch) - 3, self.grid.height - 1))
        last = max(first + 1, min(math.ceil(bottom * target.pitch_um / pitch) + 3, self.grid.height))
        part = self._codes[first:last].astype(np.float32)
        field = Field(part, Grid(last - first, self.grid.width, pitch))
        read = field.on(target, rows, shift_um=(-first * pitch, 0))
        return self._value(read)

    def _code(self, values: Float | np.float32) -> NDArray[np.uint8]:
        share = np.clip(values / np.float32(self._most), 0, 1)
        if self._power == 2:
            share = np.sqrt(share)
        return np.asarray(share * np.float32(255) + np.float32(0.5)).astype(np.uint8)

    def _value(self, codes: Float) -> Float:
        if self._power == 2:
            codes = np.square(codes) * np.float32(1 / 255)
        return codes * np.float32(self._most / 255)


def sides(points: Array, reach: int = 7) -> Array:
    """Unit vectors across a line, ``(N, 2)``, of its course from ``reach`` points before to as many after."""
    place = np.arange(len(points))
    ahead = points[np.minimum(place + reach, len(points) - 1)] - points[np.maximum(place - reach, 0)]
    ahead /= np.hypot(ahead[:, 0], ahead[:, 1])[:, None] + 1e-9
    across: Array = ahead[:, ::-1] * (1.0, -1.0)
    return across
