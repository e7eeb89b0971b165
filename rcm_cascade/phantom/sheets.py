"""Tissue without papillae or clods: the patternless lesion, and what a tilted section lets through."""

import numpy as np

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.cells import wobble
from rcm_cascade.phantom.fields import Float
from rcm_cascade.phantom.strokes import bright_cells, fibres
from rcm_cascade.phantom.window import Window


def patternless(bench: Bench) -> Draw:
    """No lattice: mottling at several sizes, fibres, a few papillae without a rim, sparse bright cells."""
    rng = bench.rng
    cells = bench.cells(210, 0.5, 5, 0.45)
    count = len(cells)
    kept = rng.random(count) < 0.4
    papillae = wobble(cells.shrunk(rng.uniform(0.35, 0.6, count), np.zeros(count)), rng, 0.14)
    hollow = np.where(kept, rng.uniform(0.25, 0.6, count), 0)
    mottling = bench.noise(70)
    where_fibres = bench.patches(600, 0.5, 0.4)
    net = fibres(bench, 60)
    sparse = bright_cells(bench, per_mm2=180, clustering=1.0)
    # some mosaics are mottled, some nearly even
    coarse, fine = float(rng.uniform(0.5, 1.5)), float(rng.uniform(0.7, 1.4))

    def draw(window: Window) -> Float:
        grain, clumps, haze = window.read(bench.grain), window.read(bench.clumps), window.read(bench.haze)
        mottled = 0.24 * window.read(mottling) + 0.12 * haze
        ground = 1 + coarse * mottled + fine * (0.14 * clumps + 0.22 * grain)
        dimmed = ground * (1 - window.soften(window.fill(papillae, hollow), 16))
        bright = 0.3 * window.read(where_fibres) * net(window) + sparse(window) * (1 + 0.25 * grain)
        return np.asarray(dimmed + bright, np.float32)

    return draw


def epidermis(bench: Bench) -> Draw:
    """The epidermis above: a honeycomb of cells with bright outlines."""

    def draw(window: Window) -> Float:
        result: Float = window.read(bench.honeycomb) * (1 + 0.1 * window.read(bench.clumps))
        return result

    return draw


def dermis(bench: Bench) -> Draw:
    """The dermis below: a dim ground with wavy bright fibres."""
    wide, fine = fibres(bench, 110), fibres(bench, 45)

    def draw(window: Window) -> Float:
        result: Float = 0.6 + 0.55 * wide(window) + 0.4 * fine(window) + 0.12 * window.read(bench.grain)
        return result

    return draw
