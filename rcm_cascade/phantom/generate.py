"""One mosaic from its recipe."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.artifacts import Artifacts, draw_artifacts
from rcm_cascade.phantom.fields import Float, Grid
from rcm_cascade.phantom.instrument import acquire, drawing_grid
from rcm_cascade.phantom.labelling import Painter, true_labels
from rcm_cascade.phantom.layout import draw_layout
from rcm_cascade.phantom.patterns import Tissue
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.window import Window

STRIP_ROWS = 1024


@dataclass(frozen=True)
class Phantom:
    """One synthetic mosaic; it is no patient.

    Args:
        image: ``(H, W)`` uint8 grey levels.
        truth: ``(H, W)`` uint8 class ids, complete.
        labels: ``(H, W)`` uint8 class ids, 255 where the experts left it open.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class _Scene:
    grid: Grid
    tissue: Tissue
    artifacts: Artifacts

    def draw(self, rows: slice) -> Float:
        window = Window(self.grid, rows, slice(0, self.grid.width))
        return self.artifacts.cover(self.tissue.draw(window), self.grid, rows)


def generate(recipe: Recipe) -> Phantom:
    """Draws one mosaic; the same recipe gives the same bytes."""
    layout_rng, artifact_rng, tissue_rng, instrument_rng, label_rng = recipe.stream().spawn(5)
    layout = draw_layout(recipe, layout_rng)
    grid = drawing_grid(recipe)
    artifacts = draw_artifacts(recipe, grid, artifact_rng)
    image = acquire(
        recipe, _Scene(grid, Tissue(recipe, layout, tissue_rng), artifacts), instrument_rng, artifacts.scanning
    )
    painter = Painter(recipe, layout, artifacts, label_rng)
    height, width = recipe.shape
    pixels = Grid(height, width, recipe.pixel_size_um)
    truth, labels = np.empty((height, width), np.uint8), np.empty((height, width), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        rows = slice(top, min(top + STRIP_ROWS, height))
        truth[rows] = true_labels(recipe, layout, artifacts, pixels, rows)
        labels[rows] = painter.paint(pixels, rows)
    return Phantom(image, truth, labels)
