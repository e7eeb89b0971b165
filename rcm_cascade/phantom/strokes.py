"""What tissues have in common besides cells: beaded outlines, single bright cells, fibres, furrows."""

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.cells import Cells
from rcm_cascade.phantom.fields import Float, noise
from rcm_cascade.phantom.window import Window

BEAD_UM = 7.0
"""Mean distance of the beads on an outline: a cell's size."""

BEAD_SIGMA_UM = 3.6
"""Blur of one bead; beads of 8 µm, scattered across the line, make an outline 12–16 µm wide."""


def beads(
    bench: Bench, cells: Cells, unevenness: float, brightness: NDArray[np.float64] | None = None, gaps: float = 0.35
) -> Draw:
    """Outlines as strings of cell-sized bright dots, about 1 on average along a line; arcs fade and vanish.

    Args:
        bench: of the tissue.
        cells: whose outlines.
        unevenness: spread of the logarithm of an outline's brightness.
        brightness: of each outline ``(N,)``; None: 1.
        gaps: how strongly brightness swings along an outline.
    """
    rng = bench.rng
    outlines = cells.outlines()
    following = np.roll(outlines, -1, axis=1)
    length = np.linalg.norm(following - outlines, axis=2)
    angle = np.linspace(0, 2 * np.pi, outlines.shape[1], endpoint=False)
    count = len(cells)
    strength = np.exp(unevenness * rng.standard_normal((count, 1)))
    if brightness is not None:
        strength = strength * brightness[:, None]
    for order in (1, 2):
        phase = rng.uniform(0, 2 * np.pi, (count, 1))
        strength = strength * (1 + gaps * np.cos(order * angle + phase)).clip(0)
    each = max(1, round(float(np.median(length)) / BEAD_UM)) if count else 1
    along = rng.random((*length.shape, each))
    dots = (outlines[..., None, :] + along[..., None] * (following - outlines)[..., None, :]).reshape(-1, 2)
    dots += rng.normal(0, 2.4, dots.shape)
    weights = ((strength * length / each)[..., None] * rng.gamma(4.0, 1 / 4, along.shape)).reshape(-1)
    # one unit a µm of line, spread by its scatter and by the blur over a width of 3.2 sigma, is 1 on the line
    scale = np.float32(3.2 * BEAD_SIGMA_UM)

    def draw(window: Window) -> Float:
        return window.soften(window.splat(dots, weights), BEAD_SIGMA_UM) * scale

    return draw


def bright_cells(bench: Bench, per_mm2: float, clustering: float) -> Draw:
    """Single bright cells of 10–25 µm, round or drawn out into arms, denser in some places."""
    rng = bench.rng
    height, width = bench.size_um
    count = rng.poisson(per_mm2 * height * width / 1e6)
    points = rng.random((count, 2)) * (height, width)
    density = noise(rng, bench.size_um, 300).at(points)
    weights = np.minimum(np.exp(clustering * density) * rng.gamma(2.0, 0.5, count), 3.0)
    angle, length = rng.uniform(0, 2 * np.pi, count), rng.exponential(6.0, count)
    direction = length[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    dots = points[:, None] + np.linspace(-1, 1, 7)[:, None] * direction[:, None]
    dots = (dots + rng.normal(0, 1.8, dots.shape)).reshape(-1, 2)
    each = np.repeat(weights / 7, 7)
    sigma = 3.3

    def draw(window: Window) -> Float:
        return window.soften(window.splat(dots, each), sigma) * np.float32(2 * np.pi * sigma**2 * 3.0)

    return draw


def fibres(bench: Bench, scale_um: float) -> Draw:
    """A net of fine bright wavy lines, 0 to about 1."""
    long, short = bench.noise(scale_um), bench.noise(scale_um / 2.2)

    def draw(window: Window) -> Float:
        coarse, fine = window.read(long), window.read(short)
        drawn: Float = np.exp(-np.square(coarse / 0.13)) + 0.5 * np.exp(-np.square((fine + 0.3 * coarse) / 0.18))
        return drawn

    return draw


def furrows(bench: Bench) -> Draw:
    """Fine skin lines in two directions that cross, bent and unevenly spaced, in [0, 1]."""
    rng = bench.rng
    first = bench.recipe.patient.wrinkle_direction
    lines = []
    for direction in (first, first + rng.uniform(0.9, 1.5)):
        lines.append(
            (direction, rng.uniform(200, 380), bench.noise(900), bench.noise(150), bench.patches(350, -0.5, 0.6))
        )

    def draw(window: Window) -> Float:
        pitch = window.grid.pitch_um
        y = (np.arange(window.rows.start, window.rows.stop, dtype=np.float32)[:, None] + 0.5) * np.float32(pitch)
        x = (np.arange(window.columns.start, window.columns.stop, dtype=np.float32)[None] + 0.5) * np.float32(pitch)
        total = np.zeros(window.shape, np.float32)
        for direction, spacing, slow, fast, seen in lines:
            place = x * np.float32(np.sin(direction)) - y * np.float32(np.cos(direction))
            place = place / np.float32(spacing) + 0.8 * window.read(slow) + 0.08 * window.read(fast)
            away = np.abs(place - np.rint(place)) * np.float32(spacing)
            total = np.maximum(total, np.exp(-np.square(away / 11)) * window.read(seen))
        return total

    return draw
