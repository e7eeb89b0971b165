"""What each tissue looks like, as reflectance around 1, before people and instrument.

Sizes and looks are those of rcm-facts §4 and §6. Nothing here is periodic: every packing comes from `cells.scatter`,
whose sizes spread and whose gaps stay.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rcm_cascade.data.phantom.cells import Cells, fill, pack, scatter, wobble
from rcm_cascade.data.phantom.fields import Field, Float, Grid, blur, noise, soft_step, splat
from rcm_cascade.data.phantom.recipe import Recipe

RIM_SIGMA_UM = 4.6
"""Blur of a ring's outline; with its jitter the outline is 12–16 µm wide."""


@dataclass(frozen=True)
class Bench:
    """What a tissue needs to draw itself.

    Args:
        recipe: the mosaic to be.
        grid: to draw on.
        rng: the tissue's own stream.
        scale: of its sizes, around 1.
        grain: cell-sized noise (9 µm), shared by all tissues.
        clumps: noise of 28 µm, shared.
        haze: noise of 160 µm, shared.
        where: above 0 where the tissue must be drawn.
    """

    recipe: Recipe
    grid: Grid
    rng: np.random.Generator
    scale: float
    grain: Float
    clumps: Float
    haze: Float
    where: Field

    @property
    def size_um(self) -> tuple[float, float]:
        """Height, width of the mosaic, µm."""
        return self.recipe.size_um

    def soften(self, values: Float, sigma_um: float) -> Float:
        """Gaussian blur in µm."""
        return blur(values, sigma_um / self.grid.pitch_um)

    def cells(self, spacing_um: float, spread: float, roundness: float, softness: float) -> Cells:
        """An irregular packing over the places where the tissue is."""
        points, sizes = scatter(self.rng, self.size_um, spacing_um * self.scale, spread, self.where, softness)
        return pack(points, sizes, roundness)

    def noise(self, scale_um: float) -> Float:
        """Noise of the tissue's own, ``(H, W)``."""
        return noise(self.rng, self.size_um, scale_um).on(self.grid)

    def patches(self, scale_um: float, edge: float, width: float) -> Float:
        """A slow share in [0, 1] of the tissue's own: a smooth step of noise, ``(H, W)``."""
        return soft_step(noise(self.rng, self.size_um, scale_um), edge, width).on(self.grid)


def ring(bench: Bench) -> Float:
    """Edged papillae: thin bright beaded outlines, cores a little darker than the granular grey between."""
    rng = bench.rng
    cells = bench.cells(98, 0.45, 10, 0.5)
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.75, 1.0, count), rng.uniform(1, 6, count)), rng, 0.05)
    core = bench.soften(fill(cells, rng.uniform(0.3, 0.95, count), bench.grid), 5)
    rim = _beads(bench, cells, 0.32)
    between = 1 + 0.24 * bench.grain + 0.2 * bench.clumps + 0.12 * bench.haze
    fading = 1 - 0.55 * bench.patches(600, 0.7, 0.5)
    strength = bench.recipe.patient.bead * fading * (1 + 0.25 * bench.haze + 0.2 * bench.clumps)
    result: Float = between * (1 - 0.6 * core) + np.float32(0.8) * rim * strength * (1 + 0.3 * bench.grain)
    return result


def meshwork(bench: Bench) -> Float:
    """Soft dark holes of 60–150 µm without a rim in hazy grey; septa about as wide as the holes."""
    rng = bench.rng
    cells = bench.cells(124, 0.36, 5, 0.55)
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.55, 0.88, count), rng.uniform(2, 8, count)), rng, 0.10)
    holes = bench.soften(fill(cells, rng.uniform(0.5, 1.0, count), bench.grid), 9)
    # the haze closes over the holes here and there: the pattern that readers and networks miss most
    depth = rng.uniform(0.82, 0.94) - 0.45 * bench.patches(450, 0.6, 0.5)
    ground = 1 + 0.12 * bench.haze + 0.14 * bench.clumps + 0.18 * bench.grain
    result: Float = ground * (1 - depth * holes)
    return result


def nested(bench: Bench) -> Float:
    """Packed granular clods of 25–150 µm with thin dark gaps, large soft ones of 100–300 µm elsewhere.

    Clods differ from each other more than they vary inside.
    """
    small = _clods(bench, bench.cells(66, 0.5, 6, 0.5), (1.5, 6.0), 0.62, 3.5)
    packed = 0.14 + small * (1 + 0.28 * bench.grain + 0.12 * bench.clumps)
    large = _clods(bench, bench.cells(180, 0.38, 7, 0.55), (2.0, 8.0), 0.5, 8)
    loose = 0.17 + large * (1 + 0.18 * bench.grain + 0.18 * bench.clumps)
    soft = bench.patches(min(1000.0, min(bench.size_um) / 3), 0.2, 0.2)
    result: Float = packed + soft * (loose - packed)
    return result


def _clods(bench: Bench, cells: Cells, gap_um: tuple[float, float], unevenness: float, softness_um: float) -> Float:
    """Filled cells of median brightness 1, a few of them dark holes."""
    rng = bench.rng
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.9, 1.0, count), rng.uniform(*gap_um, count)), rng, 0.05)
    median = 0.26  # of the range that `fill` draws in
    brightness = np.exp(unevenness * rng.standard_normal(count)) * median
    brightness[rng.random(count) < 0.04] *= 0.25
    return bench.soften(fill(cells, brightness, bench.grid), softness_um) * np.float32(1 / median)


def patternless(bench: Bench) -> Float:
    """No lattice: mottling at several sizes, fibres, a few papillae without a rim, sparse bright cells."""
    rng = bench.rng
    texture = 1 + 0.2 * bench.noise(70) + 0.12 * bench.haze + 0.13 * bench.clumps + 0.26 * bench.grain
    cells = bench.cells(210, 0.4, 5, 0.5)
    count = len(cells)
    kept = rng.random(count) < 0.3
    papillae = wobble(cells.shrunk(rng.uniform(0.35, 0.6, count), np.zeros(count)), rng, 0.14)
    hollow = fill(papillae, np.where(kept, rng.uniform(0.2, 0.5, count), 0), bench.grid)
    texture = texture * (1 - bench.soften(hollow, 16))
    fibres = bench.patches(600, 0.5, 0.4) * np.exp(-np.square(bench.noise(60) / 0.12))
    texture += 0.35 * fibres
    texture += _bright_cells(bench, per_mm2=100, clustering=1.0) * (1 + 0.3 * bench.grain)
    result: Float = texture
    return result


def non_lesion(bench: Bench) -> Float:
    """Normal skin: faint small rings that come and go, epidermal cells between, fine furrows that cross."""
    rng = bench.rng
    cells = bench.cells(78, 0.22, 9, 0.64)
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.72, 0.95, count), rng.uniform(1, 6, count)), rng, 0.05)
    seen = bench.patches(500, -0.2, 0.6)
    core = bench.soften(fill(cells, rng.uniform(0.1, 0.7, count), bench.grid), 6)
    rim = _beads(bench, cells, 0.5)
    base = 1 + 0.2 * bench.grain + 0.16 * bench.clumps + 0.12 * bench.haze
    base += 0.3 * (1 - seen) * (honeycomb(rng, bench.recipe, bench.grid) - 1)
    texture = base * (1 - 0.5 * seen * core) + 0.4 * seen * rim
    texture *= 1 - 0.6 * _furrows(bench)
    texture += _bright_cells(bench, per_mm2=20, clustering=0.5)
    result: Float = texture
    return result


PAINTERS: dict[int, Callable[[Bench], Float]] = {0: non_lesion, 2: meshwork, 3: ring, 4: nested, 5: patternless}
"""By class id."""


def honeycomb(rng: np.random.Generator, recipe: Recipe, grid: Grid) -> Float:
    """Epidermal cells of 15–25 µm: bright outlines, mean about 1; the zero lines of a noise make an irregular net."""
    values = noise(rng, recipe.size_um, 17 * recipe.patient.scale).on(grid)
    net: Float = np.float32(0.72) + np.exp(-np.square(values / 0.35))
    return net


def _beads(bench: Bench, cells: Cells, unevenness: float) -> Float:
    """Outlines as strings of cell-sized bright dots, about 1 on average along a line; arcs fade and vanish."""
    if len(cells) == 0:
        return np.zeros(bench.grid.shape, np.float32)
    rng = bench.rng
    outlines = cells.outlines()
    following = np.roll(outlines, -1, axis=1)
    length = np.linalg.norm(following - outlines, axis=2)
    angle = np.linspace(0, 2 * np.pi, outlines.shape[1], endpoint=False)
    count = len(cells)
    strength = np.exp(unevenness * rng.standard_normal((count, 1)))
    for order in (1, 2):
        phase = rng.uniform(0, 2 * np.pi, (count, 1))
        strength = strength * (1 + 0.35 * np.cos(order * angle + phase))
    along = rng.random(length.shape)[..., None]
    dots = outlines + along * (following - outlines) + rng.normal(0, 2.0, outlines.shape)
    weights = strength * length * rng.gamma(3.0, 1 / 3, length.shape)
    drawn = splat(dots.reshape(-1, 2), weights.reshape(-1), bench.grid)
    # one unit a µm of line, spread over a width of 2.5 sigma, is 1 on the line
    return bench.soften(drawn, RIM_SIGMA_UM) * np.float32(2.5 * RIM_SIGMA_UM)


def _bright_cells(bench: Bench, per_mm2: float, clustering: float) -> Float:
    """Single bright cells of 10–25 µm, round or drawn out, denser in some places."""
    rng = bench.rng
    height, width = bench.size_um
    count = rng.poisson(per_mm2 * height * width / 1e6)
    points = rng.random((count, 2)) * (height, width)
    density = noise(rng, bench.size_um, 300).at(points)
    weights = np.exp(clustering * density) * rng.gamma(2.0, 0.5, count)
    angle, length = rng.uniform(0, 2 * np.pi, count), rng.exponential(5.0, count)
    direction = length[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    dots = points[:, None] + np.linspace(-1, 1, 5)[:, None] * direction[:, None]
    dots = dots + rng.normal(0, 2.0, dots.shape)
    sigma = 3.8
    drawn = splat(dots.reshape(-1, 2), np.repeat(weights / 5, 5), bench.grid)
    return bench.soften(drawn, sigma) * np.float32(2 * np.pi * sigma**2 * 2.0)


def _furrows(bench: Bench) -> Float:
    """Fine skin lines in two directions that cross, bent and unevenly spaced, in [0, 1]."""
    rng = bench.rng
    pitch = bench.grid.pitch_um
    y = (np.arange(bench.grid.height, dtype=np.float32)[:, None] + 0.5) * np.float32(pitch)
    x = (np.arange(bench.grid.width, dtype=np.float32)[None] + 0.5) * np.float32(pitch)
    total = np.zeros(bench.grid.shape, np.float32)
    first = bench.recipe.patient.wrinkle_direction
    for direction in (first, first + rng.uniform(0.9, 1.5)):
        spacing = rng.uniform(260, 480)
        place = x * np.float32(np.sin(direction)) - y * np.float32(np.cos(direction))
        place = place / np.float32(spacing) + 0.55 * bench.noise(900) + 0.06 * bench.noise(150)
        away = np.abs(place - np.rint(place)) * np.float32(spacing)
        total = np.maximum(total, np.exp(-np.square(away / 9)) * bench.patches(350, 0.0, 0.6))
    return total
