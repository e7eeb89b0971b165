"""How the tissues of a mosaic come together: each drawn where it lies, blended, under one slow gain."""

import numpy as np

from rcm_cascade.data.phantom.fields import Field, Float, Grid, noise, soft_step
from rcm_cascade.data.phantom.layout import Layout
from rcm_cascade.data.phantom.recipe import Recipe
from rcm_cascade.data.phantom.textures import PAINTERS, Bench, honeycomb

WHERE_PRESENT = 0.02
"""Below this share a tissue is not drawn."""

LEVEL_SPREAD = 0.22
"""Spread of the logarithm of each tissue's own brightness: patterns of one mosaic differ, no class is always bright."""


def draw_tissue(recipe: Recipe, layout: Layout, grid: Grid, rng: np.random.Generator) -> Float:
    """Reflectance of the whole mosaic on ``grid``, ``(H, W)`` float32, about 1 on average, without artifacts.

    Each tissue's own brightness is drawn, and a slow gain runs over all, so that grey level alone does not name a
    class. The section is tilted: towards one side a honeycomb of epidermal cells shines through every pattern.
    """
    common, level_rng, tilt_rng, *streams = rng.spawn(3 + len(PAINTERS))
    grain = noise(common, recipe.size_um, 9).on(grid)
    clumps = noise(common, recipe.size_um, 28).on(grid)
    haze = noise(common, recipe.size_um, 160).on(grid)
    total = np.zeros(grid.shape, np.float32)
    for (class_id, paint), stream in zip(PAINTERS.items(), streams, strict=True):
        level = float(np.exp(LEVEL_SPREAD * level_rng.standard_normal()))
        weight = layout.weights[class_id]
        share = weight.on(grid)
        if float(share.max()) < WHERE_PRESENT:
            continue
        where = Field(weight.values - np.float32(WHERE_PRESENT), weight.grid)
        scale = recipe.patient.scale * float(np.exp(0.1 * stream.standard_normal()))
        texture = paint(Bench(recipe, grid, stream, scale, grain, clumps, haze, where))
        np.maximum(texture, np.float32(0.05), out=texture)
        mean = float((texture * share).sum()) / float(share.sum())
        total += share * texture * np.float32(level / mean)
    tilt = _tilt(recipe, tilt_rng).on(grid)
    total += tilt * (honeycomb(tilt_rng, recipe, grid) * (1 + 0.2 * grain) - total)
    strength = common.uniform(0.12, 0.32)
    slow = noise(common, recipe.size_um, 700).on(grid)
    total *= np.exp(strength * slow + 0.1 * haze)
    return total


def _tilt(recipe: Recipe, rng: np.random.Generator) -> Field:
    """How much of the epidermis above is seen instead, at most half, mostly nothing."""
    share = soft_step(noise(rng, recipe.size_um, 1800), 1.3, 0.5)
    return Field(share.values * np.float32(0.5), share.grid)
