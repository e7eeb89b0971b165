"""Where what lies: the lesion in normal skin, and the regions of the four patterns inside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from rcm_cascade.phantom.fields import Field, Float, Grid, blur, noise, step
from rcm_cascade.phantom.recipe import PATTERNS, Recipe

LAYOUT_PITCH_UM = 20.0
REGION_UM = 1500.0
LESION_BLEND_UM = 70.0


@dataclass(frozen=True)
class Layout:
    """Soft regions on a coarse grid.

    Args:
        weights: share of each tissue at each place by class id (non-lesion and `PATTERNS`); they sum to 1.
        lesion_depth: signed distance from the lesion's border in µm, positive inside.
    """

    weights: dict[int, Field]
    lesion_depth: Field

    def tissue_on(self, grid: Grid, rows: slice = slice(None)) -> NDArray[np.uint8]:
        """Class id of the strongest tissue, ``(rows, W)`` uint8; artifacts are not known here."""
        ids = list(self.weights)
        best = self.weights[ids[0]].on(grid, rows)
        result = np.full(best.shape, ids[0], np.uint8)
        for class_id in ids[1:]:
            weight = self.weights[class_id].on(grid, rows)
            result[weight > best] = class_id
            best = np.maximum(best, weight)
        return result


def draw_layout(recipe: Recipe, rng: np.random.Generator) -> Layout:
    """Draws the lesion and its regions.

    The lesion is an ellipse with a noisy border, cut off where its share of the area is the recipe's. Pattern regions
    are the soft maximum of one slow noise each; its sharpness varies, so that some borders are narrow and some are
    mixed zones.
    """
    grid = Grid.covering(recipe.size_um, LAYOUT_PITCH_UM)
    depth = _lesion_depth(recipe, rng, grid)
    inside = step(depth, 0.0, LESION_BLEND_UM)
    region = min(REGION_UM, min(recipe.size_um) / 2.5)
    sharpness = 9 * np.exp(0.6 * noise(rng, recipe.size_um, region).on(grid))
    scores = []
    for bias in recipe.pattern_bias:
        slow = noise(rng, recipe.size_um, region).on(grid)
        fine = noise(rng, recipe.size_um, region / 5).on(grid)
        scores.append(sharpness * (slow + 0.18 * fine + bias))
    stacked = np.stack(scores)
    shares = np.exp(stacked - stacked.max(0))
    shares *= inside / shares.sum(0)
    weights = {0: Field((1 - inside).astype(np.float32), grid)}
    for class_id, share in zip(PATTERNS, shares, strict=True):
        weights[class_id] = Field(share.astype(np.float32), grid)
    return Layout(weights, Field(depth, grid))


def _lesion_depth(recipe: Recipe, rng: np.random.Generator, grid: Grid) -> Float:
    height, width = recipe.size_um
    y = (np.arange(grid.height, dtype=np.float32)[:, None] + 0.5) * grid.pitch_um - height * rng.normal(0.5, 0.07)
    x = (np.arange(grid.width, dtype=np.float32)[None] + 0.5) * grid.pitch_um - width * rng.normal(0.5, 0.07)
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.normal(0, 0.15))
    along = (x * np.cos(angle) + y * np.sin(angle)) * stretch
    across = (y * np.cos(angle) - x * np.sin(angle)) / stretch
    short = min(height, width)
    away = np.hypot(along, across) / short
    ragged = 0.12 * noise(rng, recipe.size_um, short / 3).on(grid) + 0.035 * noise(rng, recipe.size_um, short / 12).on(
        grid
    )
    outwards = (away + ragged).astype(np.float32)
    inside = outwards < np.quantile(outwards, recipe.lesion_share)
    depth = distance_transform_edt(inside) - distance_transform_edt(~inside)
    return blur((depth * grid.pitch_um).astype(np.float32), 1.5)
