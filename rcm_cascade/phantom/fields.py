"""Grids over one mosaic and smooth random fields on them, all in µm, so that nothing depends on the pixel size."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
"""Whatever is drawn before the instrument: ``(H, W)`` float32."""


@dataclass(frozen=True)
class Grid:
    """Square pixels whose first corner is the mosaic's.

    Args:
        height: rows.
        width: columns.
        pitch_um: side of a pixel, µm.
    """

    height: int
    width: int
    pitch_um: float

    @classmethod
    def covering(cls, size_um: tuple[float, float], pitch_um: float) -> "Grid":
        """The smallest grid of this pitch that covers ``size_um`` (height, width)."""
        rows, columns = (max(1, math.ceil(side / pitch_um - 1e-6)) for side in size_um)
        return cls(rows, columns, pitch_um)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.height, self.width

    @property
    def size_um(self) -> tuple[float, float]:
        """Height, width in µm."""
        return self.height * self.pitch_um, self.width * self.pitch_um


@dataclass(frozen=True)
class Field:
    """Values on a grid, to be read at any pitch.

    Args:
        values: ``(H, W)`` float32.
        grid: where they lie.
    """

    values: Float
    grid: Grid

    def on(
        self,
        target: Grid,
        rows: slice = slice(None),
        columns: slice = slice(None),
        shift_um: tuple[float, float] = (0, 0),
    ) -> Float:
        """Bilinear values at the pixel centres of a part of ``target``, the border replicated.

        Args:
            target: the grid to read on.
            rows: of the target.
            columns: of the target.
            shift_um: the part is read this far down and right of its place, µm.

        Returns:
            ``(rows, columns)`` float32.
        """
        top, bottom, _ = rows.indices(target.height)
        left, right, _ = columns.indices(target.width)
        ratio = target.pitch_um / self.grid.pitch_um
        if ratio == 1 and shift_um == (0, 0) and self.grid.shape == target.shape:
            return self.values[top:bottom, left:right]
        # only the rows and columns that are read go to cv2, so that its 32,767 px limit is never met
        first_row, last_row = _span(top, bottom, ratio, shift_um[0] / self.grid.pitch_um, self.grid.height)
        first_column, last_column = _span(left, right, ratio, shift_um[1] / self.grid.pitch_um, self.grid.width)
        part = self.values[first_row:last_row, first_column:last_column]
        y = (top + 0.5) * ratio - 0.5 + shift_um[0] / self.grid.pitch_um - first_row
        x = (left + 0.5) * ratio - 0.5 + shift_um[1] / self.grid.pitch_um - first_column
        matrix = np.array([[ratio, 0, x], [0, ratio, y]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        sampled = cv2.warpAffine(
            part, matrix, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(sampled, np.float32)

    def at(self, points_um: NDArray[np.float64]) -> Float:
        """Nearest values at points ``(N, 2)`` in µm (y, x), the border replicated; ``(N,)`` float32."""
        index = np.floor(points_um / self.grid.pitch_um).astype(np.int64)
        y = index[:, 0].clip(0, self.grid.height - 1)
        x = index[:, 1].clip(0, self.grid.width - 1)
        values: Float = self.values[y, x]
        return values


def soft_step(field: Field, edge: float, width: float) -> Field:
    """`step` of a slow field, taken on its own coarse grid, where it costs little."""
    return Field(step(field.values, edge, width), field.grid)


def _span(first: int, last: int, ratio: float, shift: float, limit: int) -> tuple[int, int]:
    low = math.floor((first + 0.5) * ratio - 0.5 + shift) - 2
    high = math.ceil((last - 0.5) * ratio - 0.5 + shift) + 3
    low = min(max(low, 0), limit - 1)
    return low, min(max(high, low + 1), limit)


def noise(rng: np.random.Generator, size_um: tuple[float, float], scale_um: float) -> Field:
    """Gaussian noise of zero mean and unit spread whose blobs measure about ``scale_um``.

    Args:
        rng: the stream to draw from; how much is drawn depends on sizes in µm only.
        size_um: height, width to cover.
        scale_um: the correlation falls to 1/e at this distance.
    """
    pitch = scale_um / 2
    grid = Grid.covering((size_um[0] + scale_um, size_um[1] + scale_um), pitch)
    white = rng.standard_normal(grid.shape, np.float32)
    # a Gaussian of 1 px leaves 1 / (2 sqrt(pi)) of white noise's spread
    return Field(blur(white, 1.0) * np.float32(2 * math.sqrt(math.pi)), grid)


def blur(values: Float, sigma: float) -> Float:
    """Gaussian blur by ``sigma`` pixels, mirrored at the border; below 0.2 px the values come back as they are."""
    if sigma < 0.2:
        return values
    if sigma > 12:  # a wide kernel costs its width: blur a smaller copy
        factor = int(sigma // 4)
        height, width = values.shape
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        small = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
        small = blur(small, sigma / factor)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def step(values: Float, edge: float, width: float) -> Float:
    """A smooth step from 0 to 1, a half at ``edge``, most of the way within ``width`` on either side."""
    result: Float = 0.5 + 0.5 * np.tanh((values - np.float32(edge)) / np.float32(width))
    return result
