"""The microscope: fields of 0.5 mm with a brightness of their own, point spread, speckle, eight bits."""

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.fields import Field, Float, Grid, blur, noise
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.scanning import FIELD_UM, Scanning

MISREGISTRATION_UM = 0.6
"""Spread of a field's misplacement: 1–3 px of the instrument's 0.5 µm."""

GREY_OF_ONE = 62.0
"""Grey level of reflectance 1 at gain 1; the real mosaics of experiments/phantom/texture.md have medians of 47–72."""

SPECKLE_UM = 1.5
"""Standard deviation of the speckle's grain, µm: on published tiles of about 2 µm per pixel the autocorrelation is
.65 at 2 µm and .2 at 4 µm."""

GRAIN_UM = 2.6
"""The same of a coarser grain: seen at 8 µm, a fifth of the contrast of real mosaics is finer than a pixel
(experiments/phantom/texture.md)."""

COARSEST_UM, FINEST_UM = 4.0, 1.0
"""Tissue is drawn at a pitch between these; coarser mosaics are averaged down from it, finer ones interpolated."""


def averaging(pixel_size_um: float) -> int:
    """How many drawn pixels a side make one of the mosaic's, at least 1."""
    return max(1, math.ceil(pixel_size_um / COARSEST_UM - 1e-9))


def drawing_grid(recipe: Recipe) -> Grid:
    """The grid that tissue and artifacts are drawn on."""
    pitch = max(FINEST_UM, recipe.pixel_size_um / averaging(recipe.pixel_size_um))
    height, width = recipe.shape
    return Grid.covering((height * recipe.pixel_size_um, width * recipe.pixel_size_um), pitch)


SEEN_ASIDE_UM = 4.0
"""Drawn above and below a row of fields, for a field may lie a little off its place."""


class Scene(Protocol):
    """What lies under the microscope."""

    @property
    def grid(self) -> Grid:
        """Pixels that it is drawn on, the whole mosaic."""
        ...

    def draw(self, rows: slice) -> Float:
        """Reflectance of some rows of ``grid``, ``(rows, W)`` float32."""
        ...


def acquire(
    recipe: Recipe, scene: Scene, rng: np.random.Generator, scanning: Scanning | None = None
) -> NDArray[np.uint8]:
    """Images a scene field by field, one row of fields at a time, so that only 8 bits are held whole when fine.

    Args:
        recipe: the mosaic to be.
        scene: reflectance on `drawing_grid`, drawn row of fields by row of fields.
        rng: the stream to draw from.
        scanning: faults of the scan; None: none.

    Returns:
        ``(H, W)`` uint8 grey levels.
    """
    factor = averaging(recipe.pixel_size_um)
    height, width = recipe.shape
    grid = Grid(height * factor, width * factor, recipe.pixel_size_um / factor)
    site, patient = recipe.patient.site, recipe.patient
    down, across = (math.ceil(side / FIELD_UM) for side in grid.size_um)
    gain_rng, speckle_rng, grain_rng = rng.spawn(3)
    gains = _field_gains(gain_rng, (down, across), site.field_spread)
    shifts = gain_rng.normal(0, MISREGISTRATION_UM, (down, across, 2))
    # shifting by less than half a drawn pixel would only blur
    shifts *= grid.pitch_um <= 2
    result = np.empty((height, width), np.uint8)
    averaged = np.empty(grid.shape, np.float32) if factor > 1 else None
    grey = GREY_OF_ONE * site.gain * patient.gain
    for row in range(down):
        top, bottom = _edge(row, grid), min(_edge(row + 1, grid), grid.height)
        if bottom <= top:  # a field of which less than half a pixel is left
            continue
        seen = _seen(scene, top * grid.pitch_um - SEEN_ASIDE_UM, bottom * grid.pitch_um + SEEN_ASIDE_UM)
        strip = np.empty((bottom - top, grid.width), np.float32)
        for column in range(across):
            left, right = _edge(column, grid), min(_edge(column + 1, grid), grid.width)
            if right <= left:
                continue
            shift = (float(shifts[row, column, 0]) - seen.top_um, float(shifts[row, column, 1]))
            part = seen.field.on(grid, slice(top, bottom), slice(left, right), shift)
            if scanning is not None:
                part = scanning.distort(part, row, column, grid.pitch_um)
            shade = _vignette(part.shape, grid.pitch_um, site.vignetting)
            strip[:, left:right] = np.maximum(part, 0) ** np.float32(patient.contrast) * shade * gains[row, column]
        strip = blur(strip, site.psf_um / grid.pitch_um)
        strip *= grey
        strip *= _speckle(speckle_rng, strip.shape, site.speckle, SPECKLE_UM / grid.pitch_um)
        strip *= _speckle(grain_rng, strip.shape, site.grain, GRAIN_UM / grid.pitch_um)
        strip += 1.5 + 0.8 * speckle_rng.standard_normal(strip.shape, np.float32) - site.black
        if averaged is None:
            result[top:bottom] = _quantised(strip)
        else:
            averaged[top:bottom] = np.clip(strip, 0, 255)
    if averaged is not None:
        small = cv2.resize(averaged, (width, height), interpolation=cv2.INTER_AREA)
        result = _quantised(np.asarray(small, np.float32))
    return result


@dataclass(frozen=True)
class _Seen:
    """Rows of a scene as a field of their own, and how far down they begin, µm."""

    field: Field
    top_um: float


def _seen(scene: Scene, top_um: float, bottom_um: float) -> _Seen:
    pitch = scene.grid.pitch_um
    first = max(0, math.floor(top_um / pitch))
    last = min(scene.grid.height, math.ceil(bottom_um / pitch))
    return _Seen(Field(scene.draw(slice(first, last)), Grid(last - first, scene.grid.width, pitch)), first * pitch)


def _edge(index: int, grid: Grid) -> int:
    return round(index * FIELD_UM / grid.pitch_um)


def _quantised(grey: Float) -> NDArray[np.uint8]:
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _field_gains(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> Float:
    """Brightness of each field: its own, that of its row of fields, and a slow drift over the mosaic."""
    own = rng.standard_normal(shape).clip(-2, 2)
    rows = rng.standard_normal((shape[0], 1))
    size = (shape[0] * FIELD_UM, shape[1] * FIELD_UM)
    drift = noise(rng, size, 2000).on(Grid(shape[0], shape[1], FIELD_UM))
    strength = float(np.exp(rng.normal(0, 0.3)))
    return np.exp(strength * spread * (1.15 * own + 0.3 * rows) + 0.1 * drift).astype(np.float32)


def _vignette(shape: tuple[int, ...], pitch_um: float, loss: float) -> Float:
    half = FIELD_UM / 2
    y = ((np.arange(shape[0]) + 0.5) * pitch_um / half - 1).astype(np.float32)
    x = ((np.arange(shape[1]) + 0.5) * pitch_um / half - 1).astype(np.float32)
    shade: Float = 1 - np.float32(loss / 2) * (np.square(y)[:, None] + np.square(x)[None])
    return shade


def _speckle(rng: np.random.Generator, shape: tuple[int, ...], contrast: float, sigma: float) -> Float:
    """Multiplicative grain of mean 1, ``sigma`` px wide; a pixel that holds several grains varies less."""
    # drawn wider and cut, for a blur's mirrored border varies more than its middle
    margin = math.ceil(3 * sigma) if sigma >= 0.35 else 0
    values = rng.standard_normal((shape[0] + 2 * margin, shape[1] + 2 * margin), np.float32)
    if margin:
        kernel = cv2.getGaussianKernel(2 * math.ceil(4 * sigma) + 1, sigma)
        values = blur(values, sigma)[margin:-margin, margin:-margin] / np.float32(np.square(kernel).sum())
    spread = contrast / math.sqrt(1 + 1 / (4 * math.pi * sigma**2))
    spread = math.sqrt(math.log1p(spread**2))
    values *= np.float32(spread)
    values -= np.float32(spread**2 / 2)
    result: Float = np.exp(values)
    return result
