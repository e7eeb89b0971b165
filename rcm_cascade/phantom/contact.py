"""Where the skin is out of contact with the window: black, with wavy bright bands and bubbles."""

import numpy as np

from rcm_cascade.phantom.canvas import Canvas
from rcm_cascade.phantom.fields import Field, Float, Grid, noise, step
from rcm_cascade.phantom.keratin import drawn_out
from rcm_cascade.phantom.recipe import Recipe

PITCH_UM = 10.0
SPACING = 0.62
"""Depth between two wavy bands, in spreads of the relief."""

GLOW = 0.07
"""Reflectance between the bands."""

FLOCKS = 2.0
"""Of bubbles, a mm² out of contact."""


class Contact:
    """The area where contact is lost.

    Attributes:
        lost: share of lost contact in [0, 1], on a grid of 10 µm.
        beyond: how far beyond the border a place lies, in shares of the mosaic's shorter side, negative in contact.
    """

    lost: Field
    beyond: Field

    def __init__(self, recipe: Recipe, rng: np.random.Generator) -> None:
        height, width = recipe.size_um
        short = min(height, width)
        grid = Grid.covering(recipe.size_um, PITCH_UM)
        y = ((np.arange(grid.height, dtype=np.float32)[:, None] + 0.5) * PITCH_UM - height / 2) / short
        x = ((np.arange(grid.width, dtype=np.float32)[None] + 0.5) * PITCH_UM - width / 2) / short
        side = recipe.no_contact_side
        outward = x * np.float32(np.cos(side)) + y * np.float32(np.sin(side))
        slow = noise(rng, recipe.size_um, short / 4).on(grid)
        fine = noise(rng, recipe.size_um, short / 14).on(grid)
        ragged = noise(rng, recipe.size_um, min(90.0, short / 30)).on(grid)
        # the less it leans to a side, the more islands
        towards = rng.uniform(0.6, 1.6)
        beyond = (towards * outward + 0.12 * slow + 0.035 * fine + 0.006 * ragged).astype(np.float32)
        edge = float(np.quantile(beyond, 1 - recipe.no_contact_share))
        if recipe.no_contact_share == 0:
            edge += 0.05  # beyond the softness of the border
        self.beyond = Field(beyond - np.float32(edge), grid)
        self.lost = Field(step(self.beyond.values, 0.0, 0.009), grid)
        self._relief = _relief(recipe, grid, self.beyond, rng)
        self._width = noise(rng, recipe.size_um, 160)
        self._strength = noise(rng, recipe.size_um, 220)
        self._glow = noise(rng, recipe.size_um, 60)

    def contours(self, grid: Grid, rows: slice) -> Float:
        """The wavy bright bands, as reflectance, ``(rows, W)``: surface keratin where the relief crosses the focus."""
        lost = self.lost.on(grid, rows)
        if not lost.max() > 0.05:
            return np.zeros_like(lost)
        depth = (self._relief.on(grid, rows) / np.float32(SPACING)) % 1
        # each band has a sharp upper edge and fades below it
        width = 0.08 * np.exp(0.75 * self._width.on(grid, rows))
        band = np.exp(-depth / width) + np.exp(-np.square((1 - depth) / 0.03))
        strength = np.exp(1.2 * self._strength.on(grid, rows) - 0.9)
        fade = np.exp(-np.maximum(self.beyond.on(grid, rows), 0) / 0.09) + 0.12
        # nothing is quite black: light from out of focus
        glow = GLOW * np.exp(0.6 * self._glow.on(grid, rows))
        result: Float = (4.0 * band * strength * fade + glow) * lost
        return result


def _relief(recipe: Recipe, grid: Grid, beyond: Field, rng: np.random.Generator) -> Field:
    """How far the skin lies below the focus, drawn out along the wrinkles."""
    direction = recipe.patient.wrinkle_direction
    ridges = drawn_out(rng, recipe.size_um, 260, 2.5, direction).on(grid)
    folds = drawn_out(rng, recipe.size_um, 90, 1.8, direction).on(grid)
    slope = beyond.values * np.float32(min(recipe.size_um) / 450)
    fine = noise(rng, recipe.size_um, 35).on(grid)
    return Field((slope + 0.75 * ridges + 0.2 * folds + 0.05 * fine).astype(np.float32), grid)


def draw_bubbles(recipe: Recipe, contact: Contact, bright: Canvas, rng: np.random.Generator) -> None:
    """Double circles of 40–300 µm, in small flocks."""
    height, width = recipe.size_um
    area = height * width / 1e6
    flocks = int(rng.poisson(area * (FLOCKS * recipe.no_contact_share + 0.02)))
    for _ in range(flocks):
        middle = rng.random(2) * (height, width)
        count = 1 + int(rng.poisson(1.5))
        spread = rng.uniform(60, 300)
        for centre in middle + spread * rng.standard_normal((count, 2)):
            radius = float(np.exp(rng.normal(np.log(38), 0.5)).clip(18, 150))
            value, inner, lit = float(np.exp(rng.normal(0.5, 0.5))), rng.uniform(0.55, 0.8), rng.uniform(0, 2 * np.pi)
            if contact.beyond.at(centre[None])[0] > 0:
                _bubble(bright, centre, radius, value, float(inner), float(lit))


def _bubble(bright: Canvas, centre: np.ndarray, radius: float, value: float, inner: float, lit: float) -> None:
    spot = bright.spot(centre, radius + 15)
    if spot is None:
        return
    away = np.hypot(spot.y, spot.x)
    side = 1 + 0.4 * np.cos(np.arctan2(spot.y, spot.x) - np.float32(lit))
    rings = np.exp(-np.square((away - radius) / 3.6)) + 0.75 * np.exp(-np.square((away - inner * radius) / 3.0))
    bright.cover(spot.rows, spot.columns, np.asarray(value * side * rings, np.float32))
