"""Broad bright bands: stratum corneum out of focus above the section, blurred, mm long, hundreds of µm wide."""

from dataclasses import dataclass

import cv2
import numpy as np

from rcm_cascade.phantom.fields import Field, Float, Grid, noise, step
from rcm_cascade.phantom.recipe import Recipe

PITCH_UM = 20.0
BAND_UM, DRAWN_OUT = 330.0, 4.0
VEIL = 0.85
"""Share of the tissue's contrast that is lost under the middle of a band."""

SATURATED = 3.0
"""Added reflectance from which a band hides the tissue."""


@dataclass(frozen=True)
class Bands:
    """Light added by keratin, and the share of the tissue's light that it takes, on a coarse grid."""

    light: Field
    veil: Field


def draw_bands(recipe: Recipe, rng: np.random.Generator) -> Bands:
    """Bands on the recipe's share of the area."""
    grid = Grid.covering(recipe.size_um, PITCH_UM)
    direction = recipe.patient.wrinkle_direction + float(rng.normal(0, 0.35))
    course = drawn_out(rng, recipe.size_um, BAND_UM, DRAWN_OUT, direction).on(grid)
    course = course + 0.35 * noise(rng, recipe.size_um, 220).on(grid) + 0.8 * noise(rng, recipe.size_um, 1500).on(grid)
    strength = float(np.exp(rng.normal(0.3, 0.3)))
    edge = float(np.quantile(course, 1 - recipe.bands))
    inside = step(course, edge, 0.75)
    streaks = drawn_out(rng, recipe.size_um, 70, 6, direction).on(grid)
    clouds = np.exp(0.3 * noise(rng, recipe.size_um, 300).on(grid) + 0.22 * streaks)
    light = inside**2.2 * clouds * np.float32(1.9 * strength)
    return Bands(Field(light.astype(np.float32), grid), Field(inside * np.float32(VEIL), grid))


def drawn_out(
    rng: np.random.Generator, size_um: tuple[float, float], scale_um: float, factor: float, direction: float
) -> Field:
    """Gaussian noise of unit spread, ``scale_um`` across and ``factor`` times as long in ``direction`` (radians)."""
    diagonal = float(np.hypot(*size_um)) + 2 * scale_um
    white = noise(rng, (diagonal, diagonal / factor), scale_um)
    grid = Grid.covering((size_um[0] + scale_um, size_um[1] + scale_um), scale_um / 4)
    cosine, sine = np.cos(direction), np.sin(direction)
    middle = (np.array(grid.shape) - 1) / 2
    pitch = grid.pitch_um / white.grid.pitch_um
    # columns of the noise run across the lines' direction divided by the factor, rows across it
    x = np.array([cosine, sine]) * pitch / factor
    y = np.array([-sine, cosine]) * pitch
    centre = (np.array(white.grid.shape)[::-1] - 1) / 2
    matrix = np.array([[*x, centre[0] - x @ middle[::-1]], [*y, centre[1] - y @ middle[::-1]]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    read = cv2.warpAffine(white.values, matrix, grid.shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)
    values: Float = np.asarray(read, np.float32)
    return Field(values, grid)
