"""A part of a drawing grid: tissue is drawn part by part, so that a large mosaic is never held in floats."""

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.cells import SUBPIXEL_BITS, Cells, to_subpixels
from rcm_cascade.phantom.fields import Float, Grid, blur


class Readable(Protocol):
    """What has values everywhere: a `Field` or a `Tile`."""

    def on(self, target: Grid, rows: slice = ..., columns: slice = ...) -> Float:
        """Values at the pixel centres of a part of ``target``, ``(rows, columns)`` float32."""
        ...


@dataclass(frozen=True)
class Window:
    """Some rows and columns of a grid.

    Args:
        grid: of the whole mosaic.
        rows: with a start and a stop.
        columns: with a start and a stop.
    """

    grid: Grid
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @classmethod
    def whole(cls, grid: Grid) -> "Window":
        """All of a grid."""
        return cls(grid, slice(0, grid.height), slice(0, grid.width))

    def part(self, rows: slice, columns: slice) -> "Window":
        """Some rows and columns of this window, counted from its own corner."""
        top, left = self.rows.start, self.columns.start
        return Window(
            self.grid, slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        )

    def widened(self, margin_um: float) -> tuple["Window", tuple[slice, slice]]:
        """The window with a margin as far as the grid goes, and where in it this one lies."""
        margin = math.ceil(margin_um / self.grid.pitch_um)
        wide = Window(
            self.grid,
            slice(max(0, self.rows.start - margin), min(self.grid.height, self.rows.stop + margin)),
            slice(max(0, self.columns.start - margin), min(self.grid.width, self.columns.stop + margin)),
        )
        down, right = self.rows.start - wide.rows.start, self.columns.start - wide.columns.start
        return wide, (slice(down, down + self.shape[0]), slice(right, right + self.shape[1]))

    def read(self, values: Readable) -> Float:
        """The values of a field or tile here."""
        return values.on(self.grid, self.rows, self.columns)

    def soften(self, values: Float, sigma_um: float) -> Float:
        """Gaussian blur in µm."""
        return blur(values, sigma_um / self.grid.pitch_um)

    def fill(self, cells: Cells, values: NDArray[np.float64]) -> Float:
        """Draws cells with values in ``[0, 1]`` ``(N,)``, edges anti-aliased, later over earlier ones, 0 elsewhere."""
        pitch = self.grid.pitch_um
        corner = np.array([self.rows.start, self.columns.start]) * pitch
        size = np.array(self.shape) * pitch
        reach = cells.radii.max(axis=1, initial=0)[:, None]
        near = ((cells.centres > corner - reach) & (cells.centres < corner + size + reach)).all(axis=1)
        outlines = Cells(cells.centres[near] - corner, cells.radii[near]).outlines()
        levels = np.rint(values[near].clip(0, 1) * 255).astype(int).tolist()
        canvas = np.zeros(self.shape, np.uint8)
        for polygon, level in zip(to_subpixels(outlines, pitch), levels, strict=True):
            cv2.fillPoly(canvas, [polygon], level, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
        return canvas.astype(np.float32) * np.float32(1 / 255)

    def splat(self, points_um: NDArray[np.float64], weights: NDArray[np.float64]) -> Float:
        """Puts point weights ``(N,)`` at ``(N, 2)`` µm (y, x) onto the pixels they fall in, per µm²."""
        pitch = self.grid.pitch_um
        height, width = self.shape
        y, x = (np.floor(points_um / pitch).astype(np.int64) - (self.rows.start, self.columns.start)).T
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        total = np.bincount(y[inside] * width + x[inside], weights[inside] / pitch**2, minlength=height * width)
        return total.astype(np.float32).reshape(height, width)
