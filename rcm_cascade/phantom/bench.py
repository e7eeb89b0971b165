"""What a tissue needs to lay itself out, and what it then draws with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rcm_cascade.phantom.cells import Cells, pack, scatter
from rcm_cascade.phantom.fields import Field, Float, noise, soft_step
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.tile import Tile
from rcm_cascade.phantom.window import Window

Draw = Callable[[Window], Float]
"""Draws a tissue that is laid out already: reflectance about 1 on a window, ``(rows, columns)`` float32."""


@dataclass(frozen=True)
class Bench:
    """What a tissue lays itself out with.

    Args:
        recipe: the mosaic to be.
        rng: the tissue's own stream.
        scale: of its sizes, around 1.
        grain: granular cells of 9 µm, zero mean, unit spread; shared by all tissues.
        honeycomb: epidermal cells of 18 µm, mean 1; shared.
        clumps: noise of 28 µm, zero mean, unit spread; shared.
        haze: noise of 160 µm, shared.
        where: above 0 where the tissue must be drawn.
    """

    recipe: Recipe
    rng: np.random.Generator
    scale: float
    grain: Tile
    honeycomb: Tile
    clumps: Field
    haze: Field
    where: Field

    @property
    def size_um(self) -> tuple[float, float]:
        """Height, width of the mosaic, µm."""
        return self.recipe.size_um

    def cells(self, spacing_um: float, spread: float, roundness: float, softness: float, reach: float = 0.85) -> Cells:
        """An irregular packing over the places where the tissue is."""
        points, sizes = scatter(self.rng, self.size_um, spacing_um * self.scale, spread, self.where, softness)
        return pack(points, sizes, roundness, reach)

    def noise(self, scale_um: float) -> Field:
        """Noise of the tissue's own."""
        return noise(self.rng, self.size_um, scale_um)

    def patches(self, scale_um: float, edge: float, width: float) -> Field:
        """A slow share in [0, 1] of the tissue's own: a smooth step of noise."""
        return soft_step(self.noise(scale_um), edge, width)
