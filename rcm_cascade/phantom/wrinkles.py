"""Lines that run one way over the skin: thin wrinkles with their spindles and forks, and thick furrows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.canvas import Array, Ribbon, sides
from rcm_cascade.phantom.fields import Field, Grid, noise
from rcm_cascade.phantom.recipe import Recipe

STRIDE_UM, STEP_UM = 15.0, 5.0
"""A line's course is found in strides, its edges are drawn in steps."""

LENGTH_UM, LENGTH_LOG_SPREAD, LENGTH_LIMITS_UM = 2400.0, 0.45, (400.0, 6000.0)
WRINKLE_UM, THINNER_UM = 27.0, 45.0
"""Median width of a thin wrinkle, and what it stays below where it does not widen into a spindle."""

FORKS = 0.5
"""A mm of line."""

OUTSIDE_UM = 200.0
"""Lines farther outside the mosaic are not drawn."""

THICK_UM = 55.0
"""A wrinkle is artifact where it is wider than this; below, it belongs to the tissue that it crosses."""


@dataclass(frozen=True)
class Line:
    """One line, points `STEP_UM` apart.

    Args:
        ribbon: where it runs and how wide it is.
        darkness: of its inside, in [0, 1].
        bank: how wide the keratin on its sides is, µm; 0: only beside its wide stretches.
    """

    ribbon: Ribbon
    darkness: float
    bank: float

    @property
    def points(self) -> Array:
        """``(N, 2)`` µm (y, x)."""
        return self.ribbon.points

    @property
    def width(self) -> Array:
        """µm, ``(N,)``."""
        return self.ribbon.width

    @property
    def length_um(self) -> float:
        """Along the line."""
        return len(self.points) * STEP_UM

    def part(self, where: slice | NDArray[np.int64]) -> "Line":
        """Some of its points."""
        ribbon = self.ribbon
        edges = (one[where] for one in (ribbon.points, ribbon.across, ribbon.left, ribbon.right))
        return Line(Ribbon(*edges), self.darkness, self.bank)

    def piece(self, rng: np.random.Generator, low_um: float, high_um: float) -> "Line | None":
        """A random piece of a length between these; None where only a scrap of the line is left."""
        first, length = int(rng.integers(len(self.points))), rng.uniform(low_um, high_um)
        piece = self.part(slice(first, first + round(length / STEP_UM)))
        return piece if piece.length_um >= low_um else None

    def wide_stretches(self) -> list["Line"]:
        """Where it is wide enough to be artifact."""
        wide = np.flatnonzero(self.width > THICK_UM)
        groups = np.split(wide, np.flatnonzero(np.diff(wide) > 1) + 1)
        return [self.part(group) for group in groups if len(group) * STEP_UM > 40]


class Relief:
    """The direction that lines take at each place: the patient's, slowly bent, the same for neighbours."""

    def __init__(self, recipe: Recipe, rng: np.random.Generator) -> None:
        grid = Grid.covering(recipe.size_um, 50.0)
        bend = 0.14 * noise(rng, recipe.size_um, 1800).on(grid) + 0.12 * noise(rng, recipe.size_um, 450).on(grid)
        self._bend = Field(bend, grid)
        self._direction = recipe.patient.wrinkle_direction + float(rng.normal(0, 0.08))

    def walk(self, rng: np.random.Generator, starts: Array, turns: Array, lengths_um: Array) -> list[Array]:
        """Lines from ``starts`` ``(L, 2)`` µm (y, x), points `STEP_UM` apart.

        Args:
            rng: the stream to draw from.
            starts: where they begin.
            turns: ``(L,)`` radians off the common direction at the start; a line turns back within some 0.3 mm.
            lengths_um: ``(L,)``.
        """
        counts = np.maximum(4, np.rint(lengths_um / STRIDE_UM)).astype(np.int64)
        most = int(counts.max(initial=4))
        own = 0.2 * slow(rng, (len(starts), most), 9) + 0.16 * slow(rng, (len(starts), most), 2.5)
        points = np.empty((len(starts), most, 2))
        place = starts.copy()
        for index in range(most):
            points[:, index] = place
            turn = turns * np.exp(-index * STRIDE_UM / 300)
            heading = self._direction + self._bend.at(place) + own[:, index] + turn
            place = place + STRIDE_UM * np.stack([np.sin(heading), np.cos(heading)], -1)
        return [_stepped(line[:count]) for line, count in zip(points, counts, strict=True)]


def slow(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Array:
    """Unit-spread noise along each row that changes over ``scale`` places."""
    rows, count = shape
    knots = rng.standard_normal((rows, int(count / scale) + 3))
    place = np.arange(count) / scale
    left = place.astype(int)
    weight = place - left
    weight = weight * weight * (3 - 2 * weight)
    result: Array = knots[:, left] * (1 - weight) + knots[:, left + 1] * weight
    return result


def waver(rng: np.random.Generator, count: int, scale_um: float, rows: int = 1) -> Array:
    """Unit-spread noise along a line's ``count`` points that changes over ``scale_um``, ``(rows, count)``."""
    return slow(rng, (rows, count), scale_um / STEP_UM)


def _stepped(points: Array) -> Array:
    strides = np.arange(len(points))
    steps = np.arange(0, len(points) - 1, STEP_UM / STRIDE_UM)
    return np.stack([np.interp(steps, strides, one) for one in points.T], -1)


def draw_wrinkles(recipe: Recipe, rng: np.random.Generator) -> list[Line]:
    """Thin wrinkles with their forks, and thick furrows."""
    relief = Relief(recipe, rng)
    patient = recipe.patient
    # a fork adds about a third of a line
    density = patient.wrinkle_density / (1 + 0.35 * FORKS * LENGTH_UM / 1000)
    median = WRINKLE_UM * patient.wrinkle_width
    lines = [
        _wrinkle(recipe, rng, points, median * float(np.exp(rng.normal(0, 0.36))))
        for points in _family(recipe, relief, density, rng)
    ]
    lines += _forks(recipe, relief, rng, lines)
    return lines + [_furrow(recipe, rng, points) for points in _family(recipe, relief, recipe.furrows, rng)]


def _family(recipe: Recipe, relief: Relief, density: float, rng: np.random.Generator) -> list[Array]:
    """Lines of so many mm a mm², also those that only end inside the mosaic."""
    size = np.array(recipe.size_um)
    margin = LENGTH_UM / 2
    count = int(rng.poisson(density * np.prod(size + 2 * margin) / 1000 / LENGTH_UM))
    length = LENGTH_UM * np.exp(rng.normal(-(LENGTH_LOG_SPREAD**2) / 2, LENGTH_LOG_SPREAD, count))
    length = length.clip(*LENGTH_LIMITS_UM)
    middle = rng.random((count, 2)) * (size + 2 * margin) - margin
    direction = recipe.patient.wrinkle_direction
    starts = middle - length[:, None] / 2 * np.array([np.sin(direction), np.cos(direction)])
    return _inside(recipe, relief.walk(rng, starts, np.zeros(count), length))


def _inside(recipe: Recipe, lines: list[Array]) -> list[Array]:
    low, high = -OUTSIDE_UM, np.array(recipe.size_um) + OUTSIDE_UM
    return [points for points in lines if (points.max(axis=0) > low).all() and (points.min(axis=0) < high).all()]


def _wrinkle(recipe: Recipe, rng: np.random.Generator, points: Array, width_um: float, forked: bool = False) -> Line:
    """A line that tapers to its ends, comes and goes, and may widen into spindles."""
    count = len(points)
    place = np.arange(count) * STEP_UM
    start = np.minimum(1, 0.55 + place / 150) if forked else np.minimum(1, place / 500)
    taper = start * np.minimum(1, place[::-1] / 500) ** 0.8
    width = THINNER_UM * np.tanh(width_um / THINNER_UM * np.exp(0.35 * waver(rng, count, 210)[0])) * taper
    darkness = float(rng.uniform(0.9, 1.0))
    if rng.random() < recipe.patient.spindles:
        darkness = 1.0
        for _ in range(1 + int(rng.poisson(0.8))):
            half = min(float(np.exp(rng.normal(np.log(330), 0.45))), 0.4 * place[-1])
            away = (place - rng.uniform(half, place[-1] - half)) / half
            width += rng.uniform(0.1, 0.28) * half * (1 - np.square(away)).clip(0) ** 1.3
    return _edged(rng, points, width, darkness, 0.0)


def _furrow(recipe: Recipe, rng: np.random.Generator, points: Array) -> Line:
    count = len(points)
    place = np.arange(count) * STEP_UM
    taper = np.minimum(1, np.minimum(place, place[::-1]) / 900) ** 0.7
    base = float(np.exp(rng.normal(np.log(85), 0.3))) * recipe.patient.wrinkle_width
    width = base * np.exp(0.4 * waver(rng, count, 330)[0]) * taper
    return _edged(rng, points, width, 1.0, float(np.exp(rng.normal(np.log(45), 0.35))))


def _edged(rng: np.random.Generator, points: Array, width: Array, darkness: float, bank: float) -> Line:
    """Its two edges are ragged, each for itself, by a few µm whatever the width."""
    coarse, middle, fine, finest = (waver(rng, len(points), scale, 2) for scale in (240, 75, 22, 12))
    ragged = (0.18 * middle + 0.2 * fine) / (1 + width / 30) + 0.12 * coarse
    left, right = np.maximum(width / 2 * np.exp(ragged) + 1.6 * finest * np.minimum(1, width / 12), 0.3)
    across = sides(points, reach=max(7, round(float(width.max()) / 2 / STEP_UM)))
    return Line(Ribbon(points, across, left, right), darkness, bank)


def _forks(recipe: Recipe, relief: Relief, rng: np.random.Generator, lines: list[Line]) -> list[Line]:
    """Branches that leave a line and soon run beside it."""
    starts, widths, lengths = [], [], []
    for line in lines:
        for first in rng.integers(len(line.points), size=int(rng.poisson(FORKS * line.length_um / 1000))):
            starts.append(line.points[first])
            widths.append(max(6.0, rng.uniform(0.45, 0.85) * min(float(line.width[first]), 40.0)))
            lengths.append(max(120.0, rng.uniform(0.1, 0.6) * line.length_um))
    turns = rng.choice((-1, 1), len(starts)) * rng.uniform(0.35, 1.1, len(starts))
    courses = relief.walk(rng, np.reshape(starts, (-1, 2)), turns, np.array(lengths))
    return [_wrinkle(recipe, rng, points, width, forked=True) for points, width in zip(courses, widths, strict=True)]
