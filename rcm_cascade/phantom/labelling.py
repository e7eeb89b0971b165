"""What experts paint: smooth areas, most of the tissue but never all, around what they cannot judge."""

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.phantom.artifacts import Artifacts
from rcm_cascade.phantom.fields import Field, Float, Grid, blur, noise
from rcm_cascade.phantom.layout import Layout
from rcm_cascade.phantom.recipe import Recipe

ARTIFACT = 1
LESION_MARGIN_UM = 250.0
"""Unlabelled on either side of the lesion's border, where the whole margin is about 0.5 mm."""

BRUSH_UM = 120.0
SMALL_ARTIFACT_UM = 100.0
"""Artifacts narrower than about this go unmarked: they keep the label of the tissue around."""


def true_labels(recipe: Recipe, layout: Layout, artifacts: Artifacts, grid: Grid, rows: slice) -> NDArray[np.uint8]:
    """Every pixel's class, ``(rows, W)`` uint8, never 255."""
    truth = layout.tissue_on(grid, rows)
    truth[artifacts.mask_on(grid, rows)] = ARTIFACT
    return truth


class Painter:
    """One expert's labels, to be read strip by strip.

    Regions are judged on a smoothed view, wrinkles and the lesion's margin are left out, and so are the places about
    which the expert is least sure, until the recipe's share is left. About 1–3 % of the labelled pixels differ from the
    truth: small artifacts inside a painted area, and borders drawn more smoothly than they run.
    """

    def __init__(self, recipe: Recipe, layout: Layout, artifacts: Artifacts, rng: np.random.Generator) -> None:
        grid = layout.lesion_depth.grid
        smoothed = {
            class_id: Field(blur(weight.values, BRUSH_UM / grid.pitch_um), grid)
            for class_id, weight in layout.weights.items()
        }
        self._tissue = Layout(smoothed, layout.lesion_depth)
        hidden = artifacts.mask_on(grid).astype(np.float32)
        self._artifact = Field(blur(hidden, SMALL_ARTIFACT_UM / grid.pitch_um / 2), grid)
        self._wrinkles = artifacts.wrinkles
        self._sure = Field(self._certainty(recipe, smoothed, grid, rng), grid)
        self._least = self._threshold(recipe, grid)

    def _certainty(self, recipe: Recipe, smoothed: dict[int, Field], grid: Grid, rng: np.random.Generator) -> Float:
        """How sure the expert is: clear of borders, and of the mood of the day; below 0 is never painted."""
        ordered = np.sort(np.stack([weight.values for weight in smoothed.values()]), axis=0)
        clear = ordered[-1] - ordered[-2]
        # an artifact is plain to see, whatever lies under it
        clear = np.maximum(clear, np.abs(self._artifact.values - 0.5) * 2 * (self._artifact.values > 0.5))
        mood = noise(rng, recipe.size_um, min(700.0, min(recipe.size_um) / 4)).on(grid)
        sure = 4 + mood + 1.2 * clear
        sure[clear < 0.12] = -1
        depth = self._tissue.lesion_depth.values + 60 * noise(rng, recipe.size_um, 400).on(grid)
        margin = (np.abs(depth) < LESION_MARGIN_UM) & (self._artifact.values < 0.5)
        sure[margin] = -1
        return blur(sure, 1.5)

    def _threshold(self, recipe: Recipe, grid: Grid) -> float:
        wrinkled = (self._wrinkles.on(grid) > 0.5) & (self._tissue.lesion_depth.values > 0)
        candidates = np.sort(np.where(wrinkled, -1, self._sure.values), axis=None)[::-1]
        wanted = min(int(recipe.labelled_share * candidates.size), candidates.size - 1)
        return max(float(candidates[wanted]), 1.0)

    def paint(self, grid: Grid, rows: slice) -> NDArray[np.uint8]:
        """Labels of some rows of ``grid``, ``(rows, W)`` uint8, 255 where unlabelled."""
        labels = self._tissue.tissue_on(grid, rows)
        artifact = self._artifact.on(grid, rows) > 0.5
        labels[artifact] = ARTIFACT
        labels[(self._wrinkles.on(grid, rows) > 0.5) & (labels > ARTIFACT)] = UNLABELLED
        labels[self._sure.on(grid, rows) < self._least] = UNLABELLED
        return labels
