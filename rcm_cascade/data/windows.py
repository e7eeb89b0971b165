"""Windows and patches on a mosaic: pure geometry, in px of the working grid, (y, x) order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PatchGeometry:
    """The sizes that say where patches are drawn, in px.

    Args:
        window: side of the square windows.
        stride: distance between neighbouring windows.
        patch: side of the square patches, at most ``window``.

    Raises:
        ValueError: if a size is below 1, or the patch is larger than the window.
    """

    window: int
    stride: int
    patch: int

    def __post_init__(self) -> None:
        if min(self.window, self.stride, self.patch) < 1 or self.patch > self.window:
            raise ValueError(
                f"window {self.window}, stride {self.stride}, patch {self.patch} px: all must be at least 1 px and the "
                "patch no larger than the window"
            )


def window_starts(length: int, window: int, stride: int) -> NDArray[np.int64]:
    """Starts of the windows along an axis: multiples of the stride, the last one moved back to end with the axis.

    Args:
        length: of the mosaic's axis.
        window: length of a window.
        stride: distance between windows.

    Returns:
        Sorted, distinct starts ≥ 0 such that the windows reach the axis's last pixel, as long as stride ≤ window. A
        mosaic shorter than a window has one window, which starts at 0.
    """
    last = max(length - window, 0)
    return np.append(np.arange(0, last, stride, dtype=np.int64), last)


def window_grid(shape: tuple[int, int], geometry: PatchGeometry) -> NDArray[np.int64]:
    """All windows of a mosaic, row by row.

    Returns:
        ``(N, 4)`` int64: top, left, bottom, right, cut at the mosaic's border.
    """
    tops = window_starts(shape[0], geometry.window, geometry.stride)
    lefts = window_starts(shape[1], geometry.window, geometry.stride)
    top, left = (a.reshape(-1) for a in np.meshgrid(tops, lefts, indexing="ij"))
    bottom = np.minimum(top + geometry.window, shape[0])
    right = np.minimum(left + geometry.window, shape[1])
    return np.stack([top, left, bottom, right], axis=1)


def draw_position(
    rng: np.random.Generator, window: NDArray[np.int64], patch: int, wanted: NDArray[np.bool_]
) -> tuple[int, int]:
    """Draws a patch uniformly among those of a window that hold a wanted pixel; it may end with the window.

    In a window smaller than the patch, the only position is the window's start; the patch reaches beyond the mosaic.
    Tries at random first, which nearly always succeeds at once; then lists the valid positions and draws from the list,
    so the distribution is exactly uniform over valid positions.

    Args:
        rng: the sample's own generator.
        window: top, left, bottom, right.
        patch: side in px.
        wanted: ``(bottom - top, right - left)``, true where a pixel makes a patch worth drawing.

    Returns:
        The patch's top and left, in px of the mosaic.

    Raises:
        ValueError: if no pixel of the window is wanted.
    """
    first_row, first_column, bottom, right = window.tolist()
    rows, columns = max(bottom - first_row - patch, 0) + 1, max(right - first_column - patch, 0) + 1
    for _ in range(8):
        y, x = int(rng.integers(rows)), int(rng.integers(columns))
        if wanted[y : y + patch, x : x + patch].any():
            return first_row + y, first_column + x
    sums = np.pad(wanted, ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)
    y0, x0 = np.arange(rows)[:, None], np.arange(columns)[None, :]
    y1, x1 = np.minimum(y0 + patch, wanted.shape[0]), np.minimum(x0 + patch, wanted.shape[1])
    valid = np.flatnonzero(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])
    if not valid.size:
        raise ValueError(f"window {window.tolist()} holds no wanted pixel; leave it out of the grid")
    y, x = divmod(int(rng.choice(valid)), columns)
    return first_row + y, first_column + x


def read_square(array: NDArray[np.uint8], top: int, left: int, side: int, fill: int | None) -> NDArray[np.uint8]:
    """A square of an array ``(H, W)``, also where it reaches beyond the border.

    Args:
        array: the mosaic or its label map.
        top: first row, may be negative.
        left: first column, may be negative.
        side: of the square, in px.
        fill: value beyond the border; None replicates the border.

    Returns:
        ``(side, side)`` uint8, a copy.
    """
    array = np.asarray(array)  # not a memory map, whose slices are slow
    height, width = array.shape
    if 0 <= top <= height - side and 0 <= left <= width - side:
        return array[top : top + side, left : left + side].copy()
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    square: NDArray[np.uint8] = array[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)]
    if fill is not None:
        square[(rows < 0) | (rows >= height)] = fill
        square[:, (columns < 0) | (columns >= width)] = fill
    return square
