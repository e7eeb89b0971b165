"""Nested tissue: packed clods."""

import numpy as np

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.cells import Cells, wobble
from rcm_cascade.phantom.fields import Float
from rcm_cascade.phantom.strokes import beads
from rcm_cascade.phantom.window import Window

MEDIAN = 0.22
"""Level that a clod of median brightness is drawn with, of the range of 0 to 1 that `Window.fill` has."""


def nested(bench: Bench) -> Draw:
    """Packed granular bright clods of 25–150 µm with thin dark gaps, large soft ones of 100–300 µm elsewhere.

    Clods differ from each other more than they vary inside. How much of it is large is the recipe's.
    """
    small = _clods(bench, bench.cells(64, 0.5, 7, 0.5, reach=1.2), (2.0, 5.0), 3)
    large = _clods(bench, bench.cells(175, 0.38, 5, 0.55, reach=1.2), (2.0, 5.0), 9)
    soft = bench.patches(min(1000.0, min(bench.size_um) / 3), 2.0 - 4.0 * bench.recipe.clod_size, 0.2)

    def draw(window: Window) -> Float:
        share = window.read(soft)
        grain, clumps = window.read(bench.grain), window.read(bench.clumps)
        result = np.zeros(window.shape, np.float32)
        if share.min() < 0.98:
            result += (1 - share) * (0.12 + small(window) * (1 + 0.3 * grain + 0.12 * clumps))
        if share.max() > 0.02:
            result += share * (0.14 + large(window) * (1 + 0.2 * grain + 0.18 * clumps))
        return result

    return draw


def _clods(bench: Bench, cells: Cells, gap_um: tuple[float, float], softness_um: float) -> Draw:
    """Filled cells of median brightness 1, alike in one neighbourhood; a few are dark holes with a bright crescent."""
    rng = bench.rng
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.93, 1.0, count), rng.uniform(*gap_um, count)), rng, 0.05)
    unevenness = 0.3 * bench.noise(420).at(cells.centres) + 0.68 * rng.standard_normal(count)
    brightness = np.exp(unevenness) * MEDIAN
    holes = rng.random(count) < 0.05
    brightness[holes] *= 0.2
    crescents = beads(bench, cells, 0.3, 0.7 * holes.astype(np.float64), gaps=0.9)
    uneven = bench.noise(60)

    def draw(window: Window) -> Float:
        filled = window.soften(window.fill(cells, brightness), softness_um) * np.float32(1 / MEDIAN)
        return filled * (1 + 0.16 * window.read(uneven)) + crescents(window)

    return draw
