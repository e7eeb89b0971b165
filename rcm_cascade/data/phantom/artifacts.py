"""What hides the tissue: wrinkles, skin out of contact with the window, saturated blobs."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.phantom.cells import SUBPIXEL_BITS
from rcm_cascade.data.phantom.fields import Field, Float, Grid, blur, noise, step
from rcm_cascade.data.phantom.recipe import Recipe

STEP_UM = 40.0
THICK_UM = 55.0
"""A wrinkle is artifact where it is wider than this; below, it belongs to the tissue that it crosses."""

SATURATED = 4.0
"""Added reflectance from which a blob hides the tissue."""


@dataclass(frozen=True)
class Artifacts:
    """Layers over the tissue, in [0, 1] unless said.

    Args:
        shadow: darkness of wrinkles.
        banks: brightness beside wrinkles and along contours out of contact, in reflectance.
        no_contact: share of lost contact.
        blobs: reflectance added by out-of-focus and saturated keratin.
        thick: 1 where a wrinkle is wide enough to be artifact.
    """

    shadow: Field
    banks: Field
    no_contact: Field
    blobs: Field
    thick: Field

    def cover(self, tissue: Float, grid: Grid) -> Float:
        """The tissue as seen behind the artifacts, same grid."""
        contact = 1 - self.no_contact.on(grid)
        seen = tissue * (1 - 0.93 * self.shadow.on(grid)) * (0.02 + 0.98 * contact)
        seen += self.banks.on(grid) + self.blobs.on(grid) * (0.06 + 0.94 * contact)
        result: Float = seen
        return result

    def mask_on(self, grid: Grid, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Where the truth is artifact, ``(rows, W)``."""
        mask: NDArray[np.bool_] = self.no_contact.on(grid, rows) > 0.5
        mask |= self.thick.on(grid, rows) > 0.5
        mask |= self.blobs.on(grid, rows) > SATURATED
        return mask


@dataclass(frozen=True)
class Line:
    """One wrinkle: ``points`` ``(N, 2)`` µm (y, x) and its ``width`` ``(N,)`` µm there."""

    points: NDArray[np.float64]
    width: NDArray[np.float64]


def draw_artifacts(recipe: Recipe, grid: Grid, rng: np.random.Generator) -> Artifacts:
    """Draws all artifacts of one mosaic; ``grid`` is that of wrinkles and contours."""
    line_rng, bank_rng, contact_rng, blob_rng = rng.spawn(4)
    lines = _wrinkles(recipe, line_rng)
    shadow = blur(_ribbons([_ribbon(line.points, line.width) for line in lines], 255, grid), 2.5 / grid.pitch_um)
    shadow *= np.float32(1) - 0.25 * step(noise(bank_rng, recipe.size_um, 200).on(grid), 0.8, 0.3)
    wide = [_ribbon(p, w) for line in lines for p, w in _wide_stretches(line)]
    banks = _banks(recipe, lines, grid, bank_rng)
    no_contact, contours = _out_of_contact(recipe, grid, contact_rng)
    return Artifacts(
        shadow=Field(shadow, grid),
        banks=Field(banks * (1 - 0.9 * no_contact) + contours, grid),
        no_contact=Field(no_contact, grid),
        blobs=_blobs(recipe, blob_rng),
        thick=Field(_ribbons(wide, 255, grid), grid),
    )


def _wrinkles(recipe: Recipe, rng: np.random.Generator) -> list[Line]:
    patient = recipe.patient
    height, width = recipe.size_um
    direction = patient.wrinkle_direction + rng.normal(0, 0.1)
    mean_length = 0.4 * min(height, width)
    lines: list[Line] = []
    for _ in range(int(rng.poisson(patient.wrinkle_density * height * width / 1e6))):
        start = rng.uniform(-0.1, 1.1, 2) * (height, width)
        length = mean_length * float(np.exp(rng.normal(0, 0.5)))
        base = 17 * patient.wrinkle_width * float(np.exp(rng.normal(0, 0.55)))
        line = _walk(rng, start, direction + rng.normal(0, 0.12), length, base)
        lines.append(line)
        for _ in range(int(rng.poisson(0.5))):
            fork = int(rng.integers(len(line.points)))
            turn = rng.choice((-1, 1)) * rng.uniform(0.25, 0.8)
            lines.append(_walk(rng, line.points[fork], direction + turn, length * rng.uniform(0.1, 0.4), base * 0.6))
    return lines


def _walk(
    rng: np.random.Generator, start: NDArray[np.float64], direction: float, length_um: float, width_um: float
) -> Line:
    """A line that wavers about its direction, tapers at its ends and may widen into a spindle."""
    count = max(6, round(length_um / STEP_UM))
    heading = direction + 0.35 * _slow(rng, count, 6) + 0.25 * _slow(rng, count, 2)
    points = start + STEP_UM * np.cumsum(np.stack([np.sin(heading), np.cos(heading)], -1), axis=0)
    place = np.linspace(0, 1, count)
    taper = np.minimum(1, 6 * np.minimum(place, 1 - place)) ** 0.7
    width = width_um * np.exp(0.3 * _slow(rng, count, 3)) * taper
    if rng.random() < 0.3:
        middle, extent = rng.uniform(0.2, 0.8), rng.uniform(60, 220) / length_um
        width += rng.uniform(20, 130) * np.exp(-(((place - middle) / extent) ** 2))
    return Line(points, width)


def _slow(rng: np.random.Generator, count: int, scale: int) -> NDArray[np.float64]:
    """Unit-spread noise along a line that changes over ``scale`` steps."""
    knots = rng.standard_normal(count // scale + 3)
    smooth = np.interp(np.arange(count) / scale, np.arange(len(knots)), knots)
    return np.asarray(smooth, np.float64)


def _sides(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors across a line, ``(N, 2)``."""
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.stack([along[:, 1], -along[:, 0]], -1)


def _ribbon(points: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline ``(2N, 2)`` of a line of varying width."""
    side = _sides(points) * (width / 2)[:, None]
    return np.concatenate([points + side, (points - side)[::-1]])


def _wide_stretches(line: Line) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    wide = np.flatnonzero(line.width > THICK_UM)
    groups = np.split(wide, np.flatnonzero(np.diff(wide) > 1) + 1)
    return [(line.points[group], line.width[group]) for group in groups if len(group) > 1]


def _ribbons(outlines: list[NDArray[np.float64]], level: int, grid: Grid) -> Float:
    canvas = np.zeros(grid.shape, np.uint8)
    for outline in outlines:
        corners = (outline[:, ::-1] / grid.pitch_um - 0.5) * 2**SUBPIXEL_BITS
        cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], level, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return canvas.astype(np.float32) * np.float32(1 / 255)


def _banks(recipe: Recipe, lines: list[Line], grid: Grid, rng: np.random.Generator) -> Float:
    """Bright keratin in short stretches beside a wrinkle, brighter the wider it is."""
    outlines = []
    for line in lines:
        for _ in range(int(rng.poisson(len(line.points) / 14))):
            first = int(rng.integers(max(1, len(line.points) - 4)))
            part = slice(first, first + int(rng.integers(3, 9)))
            points, width = line.points[part], line.width[part]
            if len(points) < 3:
                continue
            away = rng.choice((-1, 1)) * (width / 2 + rng.uniform(3, 10))
            thickness = rng.uniform(6, 16) + 0.25 * width
            taper = np.sin(np.linspace(0.15, np.pi - 0.15, len(points)))
            outlines.append(_ribbon(points + _sides(points) * away[:, None], thickness * taper))
    drawn = blur(_ribbons(outlines, 255, grid), 4 / grid.pitch_um)
    strength = np.exp(0.6 * noise(rng, recipe.size_um, 120).on(grid))
    banks: Float = drawn * strength * np.float32(1.3)
    return banks


def _out_of_contact(recipe: Recipe, grid: Grid, rng: np.random.Generator) -> tuple[Float, Float]:
    """Black areas that come in from a side, with wavy bright contours and bubbles in them."""
    height, width = recipe.size_um
    coarse = Grid.covering(recipe.size_um, 20.0)
    y = (np.arange(coarse.height, dtype=np.float32)[:, None] + 0.5) * 20 / height - 0.5
    x = (np.arange(coarse.width, dtype=np.float32)[None] + 0.5) * 20 / width - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    short = min(height, width)
    outward = 1.6 * (x * np.cos(angle) + y * np.sin(angle))
    slow = noise(rng, recipe.size_um, short / 4).on(coarse)
    fine = noise(rng, recipe.size_um, short / 24).on(coarse)
    height_map = (outward + 0.22 * slow + 0.05 * fine).astype(np.float32)
    edge = float(np.quantile(height_map, 1 - recipe.no_contact_share))
    beyond = Field(height_map - np.float32(edge), coarse)
    lost = step(beyond.on(grid), 0.0, 0.018)
    ripples = noise(rng, recipe.size_um, 240).on(grid) + 7 * beyond.on(grid)
    ripples += 0.12 * noise(rng, recipe.size_um, 40).on(grid)
    spacing = 0.9
    phase = np.abs((ripples / spacing) % 1 - 0.5) * spacing
    strength = np.exp(1.0 * noise(rng, recipe.size_um, 180).on(grid) - 1.0)
    fade = np.exp(-np.maximum(beyond.on(grid), 0) / 0.16)
    contours = np.exp(-np.square(phase / 0.05)) * strength * fade * 2.8
    contours += _bubbles(recipe, beyond, grid, rng)
    return lost, (contours * lost).astype(np.float32)


def _bubbles(recipe: Recipe, beyond: Field, grid: Grid, rng: np.random.Generator) -> Float:
    """Double circles of 40–300 µm."""
    canvas = np.zeros(grid.shape, np.uint8)
    height, width = recipe.size_um
    scale = 2**SUBPIXEL_BITS
    for _ in range(int(rng.poisson(6 * recipe.no_contact_share * height * width / 1e6)) + 2):
        centre = rng.random(2) * (height, width)
        radius = float(np.exp(rng.normal(np.log(45), 0.5)))
        level = int(rng.integers(60, 230))
        if beyond.at(centre[None])[0] < 0:
            continue
        place = np.rint((centre[::-1] / grid.pitch_um - 0.5) * scale).astype(int)
        for part in (1.0, 0.72):
            size = round(radius * part / grid.pitch_um * scale)
            thickness = max(1, round(7 / grid.pitch_um))
            cv2.circle(canvas, (int(place[0]), int(place[1])), size, level, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return blur(canvas.astype(np.float32) * np.float32(2.4 / 255), 3 / grid.pitch_um)


def _blobs(recipe: Recipe, rng: np.random.Generator) -> Field:
    """Out-of-focus keratin: a few bright, elongated clouds, some of them saturated."""
    grid = Grid.covering(recipe.size_um, 10.0)
    height, width = recipe.size_um
    total = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.poisson(0.35 * height * width / 1e6))):
        centre = rng.random(2) * (height, width)
        length = float(np.exp(rng.normal(np.log(90), 0.6)))
        breadth = length * rng.uniform(0.2, 0.6)
        angle = recipe.patient.wrinkle_direction + rng.normal(0, 0.5)
        peak = float(np.exp(rng.normal(0.7, 0.8)))
        reach = 3 * length
        top, left = (max(0, int((c - reach) / 10)) for c in centre)
        y = (np.arange(top, min(grid.height, int((centre[0] + reach) / 10) + 1))[:, None] + 0.5) * 10 - centre[0]
        x = (np.arange(left, min(grid.width, int((centre[1] + reach) / 10) + 1))[None] + 0.5) * 10 - centre[1]
        along = (x * np.cos(angle) + y * np.sin(angle)) / length
        across = (y * np.cos(angle) - x * np.sin(angle)) / breadth
        cloud = peak * np.exp(-(along**2 + across**2) / 2)
        total[top : top + cloud.shape[0], left : left + cloud.shape[1]] += cloud.astype(np.float32)
    ragged = 0.45 * noise(rng, recipe.size_um, 90).on(grid) + 0.3 * noise(rng, recipe.size_um, 35).on(grid)
    return Field(total * np.exp(ragged), grid)
