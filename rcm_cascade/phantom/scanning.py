"""Faults of the scan within a field: strips that the skin moved in, rings reflected from the window."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.fields import Float, Grid
from rcm_cascade.phantom.recipe import Recipe

FIELD_UM = 500.0
"""Side of a field of the microscope."""

KNOT_UM = 12.0
STRONG = 0.5
"""Rings stronger than this hide the tissue."""


@dataclass(frozen=True)
class Moved:
    """A strip of a field's rows that were scanned while the skin moved.

    Args:
        top_um: in the field.
        bottom_um: in the field.
        slide_um: how far each row is displaced to the right, at knots `KNOT_UM` apart down the strip, ``(K,)``.
        gain: of each row, at the same knots.
        held_um: the skin moved along with the scan, so that rows show the same line for so long; 0: it did not.
    """

    top_um: float
    bottom_um: float
    slide_um: NDArray[np.float64]
    gain: NDArray[np.float64]
    held_um: float


@dataclass(frozen=True)
class Rings:
    """Interference rings, round the same point of every field.

    Args:
        centre_um: (y, x) in the field.
        reach_um: how far they reach.
        curvature: phase in turns a µm².
        phase: in turns.
        strength: in each field, ``(rows, columns)``.
    """

    centre_um: tuple[float, float]
    reach_um: float
    curvature: float
    phase: float
    strength: Float


class Scanning:
    """The faults of one mosaic's scan, by row and column of its fields."""

    def __init__(self, moved: dict[tuple[int, int], list[Moved]], rings: Rings) -> None:
        self._moved = moved
        self._rings = rings
        self._drawn: tuple[tuple[tuple[int, ...], float], Float, Float] | None = None

    def distort(self, part: Float, row: int, column: int, pitch_um: float) -> Float:
        """A field as it is scanned.

        Args:
            part: its reflectance ``(H, W)``, cut off at the mosaic's border.
            row: of the field.
            column: of the field.
            pitch_um: of ``part``.

        Returns:
            The same shape, a new array where there is a fault.
        """
        for strip in self._moved.get((row, column), ()):
            part = _displaced(part, strip, pitch_um)
        strength = float(self._rings.strength[row, column])
        if strength > 0.01:
            swing, reach = self._ring_pattern(part.shape, pitch_um)
            # the window's light interferes with the tissue's, and a little of it is seen alone
            part = part * (1 + np.float32(strength) * swing) + np.float32(0.3 * strength) * (reach + swing)
        return part

    def mask_on(self, grid: Grid, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Where a fault hides the tissue, ``(rows, W)``."""
        first, last, _ = rows.indices(grid.height)
        mask = np.zeros((last - first, grid.width), bool)
        y, x = (np.arange(first, last) + 0.5) * grid.pitch_um, (np.arange(grid.width) + 0.5) * grid.pitch_um
        for (row, column), strips in self._moved.items():
            across = (x >= column * FIELD_UM) & (x < (column + 1) * FIELD_UM)
            for strip in strips:
                down = (y >= row * FIELD_UM + strip.top_um) & (y < row * FIELD_UM + strip.bottom_um)
                mask[np.ix_(down, across)] = True
        centre = self._rings.centre_um
        for row, column in np.argwhere(self._rings.strength > STRONG):
            below, right = y - row * FIELD_UM, x - column * FIELD_UM
            box = np.ix_((below >= 0) & (below < FIELD_UM), (right >= 0) & (right < FIELD_UM))
            mask[box] |= np.hypot(below[box[0]] - centre[0], right[box[1]] - centre[1]) < 0.8 * self._rings.reach_um
        return mask

    def _ring_pattern(self, shape: tuple[int, ...], pitch_um: float) -> tuple[Float, Float]:
        """The rings, in [-1, 1], and how far they reach, in [0, 1]; the last are kept, for most fields are alike."""
        key = (shape, pitch_um)
        if self._drawn is None or self._drawn[0] != key:
            rings = self._rings
            y = ((np.arange(shape[0]) + 0.5) * pitch_um - rings.centre_um[0]).astype(np.float32)[:, None]
            x = ((np.arange(shape[1]) + 0.5) * pitch_um - rings.centre_um[1]).astype(np.float32)[None]
            squared = np.square(y) + np.square(x)
            reach = np.exp(-np.square(squared / np.float32(rings.reach_um**2)))
            turns = np.float32(2 * math.pi) * (squared * np.float32(rings.curvature) + np.float32(rings.phase))
            # rings closer than two pixels average out
            spacing = 1 / (2 * rings.curvature * np.sqrt(squared) + 1e-9)
            clear = np.clip(spacing / pitch_um - 1.5, 0, 1)
            self._drawn = key, (reach * clear * np.cos(turns)).astype(np.float32), reach
        return self._drawn[1], self._drawn[2]


def draw_scanning(recipe: Recipe, rng: np.random.Generator) -> Scanning:
    """The faults of one mosaic."""
    down, across = (math.ceil(side / FIELD_UM) for side in recipe.size_um)
    ring_rng, motion_rng = rng.spawn(2)
    # one more of each, for a mosaic of whole pixels may reach a little into the next field
    strength = recipe.reflections * np.exp(0.35 * ring_rng.standard_normal((down + 1, across + 1)))
    centre = FIELD_UM * (0.5 + 0.16 * ring_rng.standard_normal(2).clip(-2, 2))
    reach = float(ring_rng.uniform(110, 190))
    rings = Rings(
        centre_um=(float(centre[0]), float(centre[1])),
        reach_um=reach,
        curvature=float(ring_rng.uniform(3, 7)) / reach**2,
        phase=float(ring_rng.random()),
        strength=strength.clip(0, 1).astype(np.float32),
    )
    moved: dict[tuple[int, int], list[Moved]] = defaultdict(list)
    # a movement lasts for one to three fields of a row, which are scanned one after the other
    for _ in range(int(motion_rng.poisson(recipe.motion * down * across / 2))):
        row, column = int(motion_rng.integers(down)), int(motion_rng.integers(across))
        kind = motion_rng.choice(("slide", "slide", "repeat", "flash"))
        for next_column in range(column, min(column + 1 + int(motion_rng.integers(3)), across)):
            moved[row, next_column].append(_movement(motion_rng, str(kind)))
    return Scanning(dict(moved), rings)


def _movement(rng: np.random.Generator, kind: str) -> Moved:
    height = float(rng.uniform(60, 260))
    top = float(rng.uniform(-0.2, 0.9)) * (FIELD_UM - height)
    top, bottom = max(0.0, top), min(FIELD_UM, max(0.0, top) + height)
    knots = int(height / KNOT_UM) + 3
    drift = np.cumsum(rng.normal(0, 0.35, knots)) + 0.25 * rng.standard_normal(knots)
    slide = rng.uniform(15, 45) * drift * np.sin(np.linspace(0, np.pi, knots)) ** 0.5
    steady = np.ones(knots)
    if kind == "repeat":
        return Moved(top, bottom, 0.3 * slide, steady, held_um=float(rng.uniform(25, 80)))
    if kind == "flash":  # the skin moves in and out of focus: saturated and black rows in turn
        phase = np.cumsum(rng.uniform(0.12, 0.45, knots)) * np.pi
        flashes = np.exp(2.2 * np.sin(phase) + 0.5 * rng.standard_normal(knots) - 0.3)
        return Moved(top, bottom, slide, flashes, held_um=0.0)
    return Moved(top, bottom, slide, steady, held_um=0.0)


def _displaced(part: Float, strip: Moved, pitch_um: float) -> Float:
    height, width = part.shape
    first, last = (min(height, max(0, round(edge / pitch_um))) for edge in (strip.top_um, strip.bottom_um))
    if first >= last:
        return part
    depth = (np.arange(first, last) + 0.5) * pitch_um - strip.top_um
    knots = KNOT_UM * np.arange(len(strip.gain))
    slide, gain = (np.interp(depth, knots, values) for values in (strip.slide_um, strip.gain))
    lag = depth % strip.held_um if strip.held_um else np.zeros(len(depth))
    rows = np.clip(np.arange(first, last) - np.floor(lag / pitch_um), 0, height - 1).astype(int)
    columns = np.clip(np.arange(width)[None] - np.rint(slide / pitch_um)[:, None], 0, width - 1).astype(int)
    result = part.copy()
    result[first:last] = part[rows[:, None], columns] * gain[:, None].astype(np.float32)
    return result
