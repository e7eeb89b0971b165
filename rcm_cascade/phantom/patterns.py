"""How the tissues of a mosaic come together: each drawn where it lies, blended, under one slow gain."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.clods import nested
from rcm_cascade.phantom.fields import Field, Float, Grid, noise, soft_step
from rcm_cascade.phantom.layout import Layout
from rcm_cascade.phantom.papillae import meshwork, non_lesion, ring
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.sheets import dermis, epidermis, patternless
from rcm_cascade.phantom.tile import grain_tile, honeycomb_tile
from rcm_cascade.phantom.window import Window

PAINTERS: dict[int, Callable[[Bench], Draw]] = {0: non_lesion, 2: meshwork, 3: ring, 4: nested, 5: patternless}
"""By class id."""

WHERE_PRESENT = 0.02
"""Below this share a tissue is not drawn."""

LEVEL_SPREAD = 0.22
"""Spread of the logarithm of each tissue's own brightness: patterns of one mosaic differ, no class is always bright."""

MARGIN_UM = 40.0
"""Drawn beyond a window's border, so that blurs see what lies there."""

PREVIEW_UM = 16.0
"""Pitch at which a tissue's mean is taken."""

TILTED_AT_MOST = 0.6
"""Largest share of what lies above or below in a tilted section."""

DARKEST = 0.05
"""No tissue is darker, of a mean of about 1."""


@dataclass(frozen=True)
class Layer:
    """One tissue: its share at each place, how it is drawn, and its gain."""

    share: Field
    draw: Draw
    gain: float

    def part(self, window: Window) -> tuple[tuple[slice, slice], Float, Float] | None:
        """The box of the window that the tissue lies in, its share and its texture there; None where it does not."""
        share = window.read(self.share)
        present = share > WHERE_PRESENT
        if not present.any():
            return None
        box = _extent(present, 1), _extent(present, 0)
        inner = window.part(*box)
        wide, crop = inner.widened(MARGIN_UM)
        return box, share[box], np.maximum(self.draw(wide)[crop], np.float32(DARKEST))


def _extent(present: NDArray[np.bool_], across: int) -> slice:
    where = np.flatnonzero(present.any(axis=across))
    return slice(int(where[0]), int(where[-1]) + 1)


class Tissue:
    """Reflectance of the whole mosaic, about 1 on average, without artifacts, to be drawn window by window.

    Each tissue's own brightness is drawn, and a slow gain runs over all, so that grey level alone does not name a
    class. The section is tilted: towards one side a honeycomb of epidermal cells shines through every pattern, towards
    another the fibres of the dermis.
    """

    def __init__(self, recipe: Recipe, layout: Layout, rng: np.random.Generator) -> None:
        common, level_rng, tilt_rng, *streams = rng.spawn(3 + len(PAINTERS))
        size_um = recipe.size_um
        everywhere = Field(np.ones((1, 1), np.float32), Grid(1, 1, max(size_um)))
        bench = Bench(
            recipe=recipe,
            rng=tilt_rng,
            scale=recipe.patient.scale,
            grain=grain_tile(common),
            honeycomb=honeycomb_tile(common, 18 * recipe.patient.scale),
            clumps=noise(common, size_um, 28),
            haze=noise(common, size_um, 160),
            where=everywhere,
        )
        self._haze = bench.haze
        self._slow, self._strength = noise(common, size_um, 700), float(common.uniform(0.08, 0.22))
        self._layers = []
        for (class_id, paint), stream in zip(PAINTERS.items(), streams, strict=True):
            level = float(np.exp(LEVEL_SPREAD * level_rng.standard_normal()))
            share = layout.weights[class_id]
            if float(share.values.max()) < WHERE_PRESENT:
                continue
            where = Field(share.values - np.float32(WHERE_PRESENT), share.grid)
            scale = recipe.patient.scale * float(np.exp(0.1 * stream.standard_normal()))
            draw = paint(replace(bench, rng=stream, scale=scale, where=where))
            self._layers.append(Layer(share, draw, level / _mean(draw, share, size_um)))
        slope = noise(tilt_rng, size_um, 1800)
        above = soft_step(slope, 1.3, 0.4)
        below = soft_step(Field(-slope.values, slope.grid), 1.5, 0.4)
        self._tilted = [Layer(above, epidermis(bench), TILTED_AT_MOST), Layer(below, dermis(bench), TILTED_AT_MOST)]

    def draw(self, window: Window) -> Float:
        """Reflectance on a window, ``(rows, columns)`` float32."""
        result = np.zeros(window.shape, np.float32)
        for layer in self._layers:
            if part := layer.part(window):
                box, share, texture = part
                result[box] += share * texture * np.float32(layer.gain)
        for layer in self._tilted:
            if part := layer.part(window):
                box, share, texture = part
                result[box] += share * np.float32(layer.gain) * (texture - result[box])
        result *= np.exp(np.float32(self._strength) * window.read(self._slow) + 0.05 * window.read(self._haze))
        return result


def _mean(draw: Draw, share: Field, size_um: tuple[float, float]) -> float:
    """A tissue's mean where it lies, taken on a coarse view."""
    grid = Grid.covering(size_um, PREVIEW_UM)
    window = Window.whole(grid)
    weight = window.read(share)
    return float((np.maximum(draw(window), DARKEST) * weight).sum() / weight.sum())
