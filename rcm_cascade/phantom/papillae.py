"""Tissues made of dermal papillae: rings, meshwork, and the faint rings of normal skin."""

from statistics import NormalDist

import numpy as np

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.cells import stretch, wobble
from rcm_cascade.phantom.fields import Float
from rcm_cascade.phantom.strokes import beads, bright_cells, fibres, furrows
from rcm_cascade.phantom.window import Window


def ring(bench: Bench) -> Draw:
    """Edged papillae: thin bright beaded outlines, cores a little darker than the granular grey between."""
    rng = bench.rng
    cells = bench.cells(98, 0.45, 13, 0.5)
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.82, 1.0, count), rng.uniform(1, 5, count)), rng, 0.05)
    darkness = rng.uniform(0.3, 0.95, count)
    rims = beads(bench, cells, 0.22)
    fading = bench.patches(600, 0.7, 0.5)
    inner = fibres(bench, 22)

    def draw(window: Window) -> Float:
        grain, clumps, haze = window.read(bench.grain), window.read(bench.clumps), window.read(bench.haze)
        core = window.soften(window.fill(cells, darkness), 4)
        between = 0.95 + 0.12 * grain + 0.12 * clumps + 0.06 * haze
        strength = bench.recipe.patient.bead * (1 - 0.55 * window.read(fading)) * (1 + 0.15 * haze + 0.2 * clumps)
        result: Float = between * (1 - 0.7 * core) + 0.16 * core * inner(window)
        result += np.float32(0.72) * rims(window) * strength * (1 + 0.25 * grain)
        return result

    return draw


def meshwork(bench: Bench) -> Draw:
    """Soft dark holes of 60–150 µm without a rim in hazy grey; septa about as wide as the holes.

    The recipe's share of it is deformed: holes drawn out and bent, run together or closing over, septa of very
    unequal width, some with a broken bright edge, so that rings and patternless tissue are near.
    """
    rng = bench.rng
    cells = bench.cells(104, 0.46, 5, 0.5)
    count = len(cells)
    edge = NormalDist().inv_cdf(min(max(1 - bench.recipe.deformed_meshwork, 1e-6), 1 - 1e-6))
    # half of it deforms patch by patch, half hole by hole
    mood = 0.7 * bench.noise(420).at(cells.centres) + 0.7 * rng.standard_normal(count)
    deformed = (0.5 + 0.5 * np.tanh(2.5 * (mood - edge))).astype(np.float64)
    cells = cells.shrunk(rng.uniform(0.5, 0.84, count), rng.uniform(2, 8, count))
    cells = cells.shrunk(1 + deformed * rng.uniform(-0.45, 0.4, count), np.zeros(count))
    cells = stretch(cells, rng.uniform(0, np.pi, count), 1 + deformed * rng.uniform(0.2, 1.3, count))
    cells = wobble(cells, rng, 0.10 + 0.14 * deformed)
    darkness = rng.uniform(0.75, 1.0, count) * (1 - deformed * rng.uniform(0, 0.6, count))
    edged = deformed * (rng.random(count) < 0.45) * rng.uniform(0.2, 0.8, count)
    rims = beads(bench, cells, 0.3, edged, gaps=0.9)
    closing = bench.patches(450, 0.6, 0.5)
    deepest = rng.uniform(0.9, 0.98)
    inner = fibres(bench, 26)
    dust = bench.noise(13)

    def draw(window: Window) -> Float:
        grain, clumps, haze = window.read(bench.grain), window.read(bench.clumps), window.read(bench.haze)
        holes = window.soften(window.fill(cells, darkness), 7)
        # the haze closes over the holes here and there: the pattern that readers and networks miss most
        depth = deepest - 0.28 * window.read(closing)
        # dimmer spots rather than brighter ones: real fields of dark holes are skewed to the dark
        dim = np.exp(np.float32(0.5) * window.read(dust)) - np.float32(1.13)
        ground = 1 + 0.06 * haze + 0.1 * clumps + 0.12 * grain - 0.22 * dim
        result: Float = ground * (1 - depth * holes) + 0.07 * holes * inner(window)
        result += np.float32(0.42) * rims(window) * (1 + 0.25 * grain)
        return result

    return draw


def non_lesion(bench: Bench) -> Draw:
    """Normal skin: faint small rings that come and go, epidermal cells between, fine furrows that cross."""
    rng = bench.rng
    cells = bench.cells(72, 0.2, 9, 0.66)
    count = len(cells)
    cells = wobble(cells.shrunk(rng.uniform(0.72, 0.95, count), rng.uniform(1, 6, count)), rng, 0.05)
    darkness = rng.uniform(0.1, 0.7, count)
    rims = beads(bench, cells, 0.5)
    seen = bench.patches(500, -0.6, 0.6)
    lines = furrows(bench)
    vivid = rng.uniform(0.7, 1.2)
    sparse = bright_cells(bench, per_mm2=10, clustering=0.5)

    def draw(window: Window) -> Float:
        grain, clumps, haze = window.read(bench.grain), window.read(bench.clumps), window.read(bench.haze)
        there = window.read(seen)
        core = window.soften(window.fill(cells, darkness), 6)
        base = 1 + vivid * (0.2 * grain + 0.2 * clumps + 0.2 * haze)
        base += 0.55 * (1 - there) * (window.read(bench.honeycomb) - 1)
        texture = base * (1 - 0.5 * vivid * there * core) + 0.55 * vivid * there * rims(window)
        texture *= 1 - 0.75 * lines(window)
        texture += sparse(window)
        result: Float = texture
        return result

    return draw
