"""Cell-sized texture: a small square of cells, repeated, for it would be too much to place a mosaic's every cell."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.fields import Float, Grid, blur

SIDE_PX = 720
PITCH_UM = 1.0
MARGIN_PX = 64
OFFSETS_UM = 12.0
"""Places are multiples of this, so that at a pitch of 1, 1.5, 2, 3 or 4 µm nothing is interpolated."""

NORMED_AT_UM = 4.0


@dataclass(frozen=True)
class Tile:
    """Values on a square that is repeated in both directions.

    Args:
        values: ``(SIDE_PX, SIDE_PX)`` float32 at `PITCH_UM`.
        offset_um: of the first square, down and right.
    """

    values: Float
    offset_um: tuple[float, float]

    def on(self, target: Grid, rows: slice = slice(None), columns: slice = slice(None)) -> Float:
        """Values averaged to the target's pitch at the pixel centres of a part of it, ``(rows, columns)`` float32."""
        top, bottom, _ = rows.indices(target.height)
        left, right, _ = columns.indices(target.width)
        side = round(SIDE_PX * PITCH_UM / target.pitch_um)
        square = self.values
        if side < SIDE_PX:
            square = np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.float32)
        ratio = target.pitch_um * len(square) / (SIDE_PX * PITCH_UM)
        y, x = (
            ((first + 0.5) * target.pitch_um + offset) * len(square) / (SIDE_PX * PITCH_UM) - 0.5
            for first, offset in zip((top, left), self.offset_um, strict=True)
        )
        matrix = np.array([[ratio, 0, x % len(square)], [0, ratio, y % len(square)]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (right - left, bottom - top)
        return np.asarray(cv2.warpAffine(square, matrix, size, flags=flags, borderMode=cv2.BORDER_WRAP), np.float32)


def grain_tile(rng: np.random.Generator, cell_um: float = 9.0) -> Tile:
    """Granular cells of unequal brightness with dark gaps; zero mean, unit spread once averaged to 4 µm."""
    nearest, depth = _cells(rng, cell_um)
    bright = np.exp(0.38 * rng.standard_normal(int(nearest.max()) + 1)).astype(np.float32)[nearest]
    bright *= np.clip(depth / 2.2, 0.15, 1)
    bright *= np.exp(0.3 * _noise(rng, 1.2))
    bright -= bright.mean()
    side = round(SIDE_PX * PITCH_UM / NORMED_AT_UM)
    coarse = np.asarray(cv2.resize(bright, (side, side), interpolation=cv2.INTER_AREA))
    return _placed(rng, bright / coarse.std())


def honeycomb_tile(rng: np.random.Generator, cell_um: float = 18.0) -> Tile:
    """Epidermal cells: bright outlines, darker bodies with darker nuclei; mean 1."""
    nearest, depth = _cells(rng, cell_um)
    outline = np.exp(-np.square(depth / 2.4)) * np.exp(0.25 * _noise(rng, 6.0))
    body = np.exp(0.25 * rng.standard_normal(int(nearest.max()) + 1)).astype(np.float32)[nearest]
    nucleus = np.clip((depth - 0.28 * cell_um) / 2, 0, 1)
    values = 0.55 * body * (1 - 0.5 * nucleus) * np.exp(0.2 * _noise(rng, 1.3)) + 1.5 * outline
    return _placed(rng, values / values.mean())


def _cells(rng: np.random.Generator, cell_um: float) -> tuple[NDArray[np.int32], Float]:
    """Each pixel's cell, and its distance from the cell's border in µm."""
    count = round(SIDE_PX * PITCH_UM / cell_um)
    place = np.stack(np.meshgrid(np.arange(count), np.arange(count), indexing="ij"), -1) + 0.5
    place[:, 1::2, 0] += 0.5
    place = (place + rng.uniform(-0.5, 0.5, place.shape)) % count
    side = SIDE_PX + 2 * MARGIN_PX
    seeds = np.ones((side, side), np.uint8)
    pixel = (place.reshape(-1, 2) * (SIDE_PX / count)).astype(int) % SIDE_PX
    owner = np.zeros((side, side), np.int32)
    for down in (-SIDE_PX, 0, SIDE_PX):
        for right in (-SIDE_PX, 0, SIDE_PX):
            at = pixel + MARGIN_PX + (down, right)
            inside = ((at >= 0) & (at < side)).all(axis=1)
            seeds[at[inside, 0], at[inside, 1]] = 0
            owner[at[inside, 0], at[inside, 1]] = np.flatnonzero(inside)
    _, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owner_of = np.zeros(int(label.max()) + 1, np.int32)
    owner_of[label[seeds == 0]] = owner[seeds == 0]
    nearest = owner_of[label]
    border = np.ones(nearest.shape, np.uint8)
    border[:-1][nearest[:-1] != nearest[1:]] = 0
    border[:, :-1][nearest[:, :-1] != nearest[:, 1:]] = 0
    depth = np.asarray(cv2.distanceTransform(border, cv2.DIST_L2, 5), np.float32) * np.float32(PITCH_UM)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    return nearest[inner, inner], depth[inner, inner]


def _noise(rng: np.random.Generator, sigma_px: float) -> Float:
    """Periodic noise of unit spread."""
    reach = int(4 * sigma_px) + 2
    white = np.pad(rng.standard_normal((SIDE_PX, SIDE_PX), np.float32), reach, mode="wrap")
    smooth = blur(white, sigma_px)[reach:-reach, reach:-reach]
    result: Float = smooth / smooth.std()
    return result


def _placed(rng: np.random.Generator, values: Float) -> Tile:
    """Turned and shifted at random, so that no two uses of a tile line up."""
    turned = np.rot90(values, int(rng.integers(4)))
    down, right = OFFSETS_UM * rng.integers(int(SIDE_PX * PITCH_UM / OFFSETS_UM), size=2)
    return Tile(np.ascontiguousarray(turned, np.float32), (float(down), float(right)))
