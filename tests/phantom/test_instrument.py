from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from rcm_cascade.phantom.fields import Float, Grid
from rcm_cascade.phantom.instrument import acquire, drawing_grid
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe


def recipe(pixel_size_um: float, **site: Any) -> Recipe:
    patient = make_patient(0, 0, 1)
    patient = replace(patient, contrast=1.0, site=replace(patient.site, **site))
    return make_recipe(seed=0, index=0, size_um=(2000, 3000), pixel_size_um=pixel_size_um, patient=patient)


@dataclass(frozen=True)
class Even:
    """A scene that is 1 everywhere."""

    grid: Grid

    def draw(self, rows: slice) -> Float:
        return np.ones((rows.stop - rows.start, self.grid.width), np.float32)


@dataclass(frozen=True)
class Edge:
    """A scene that is bright below a line, µm."""

    grid: Grid
    line_um: float

    def draw(self, rows: slice) -> Float:
        below = (np.arange(rows.start, rows.stop) + 0.5) * self.grid.pitch_um > self.line_um
        return np.repeat(0.2 + 2 * below[:, None], self.grid.width, axis=1).astype(np.float32)


def even(one: Recipe) -> Even:
    return Even(drawing_grid(one))


@pytest.mark.parametrize("pixel_size_um", [2.0, 8.0])
def test_fields_differ_in_brightness_along_half_millimetre_seams(pixel_size_um: float) -> None:
    one = recipe(pixel_size_um, field_spread=0.25, vignetting=0.0)
    image = acquire(one, even(one), np.random.default_rng(0)).astype(float)
    steps = np.abs(np.diff(image[: int(480 / pixel_size_um)].mean(0)))

    def strongest(away_um: float) -> float:
        places = [round((seam + away_um) / pixel_size_um) for seam in (500, 1000, 1500, 2000, 2500)]
        return float(np.mean([steps[place - 2 : place + 1].max() for place in places]))

    assert strongest(0) > 3 * strongest(-250)


@pytest.mark.parametrize(("pixel_size_um", "low", "high"), [(0.5, 0.2, 0.5), (2.0, 0.15, 0.45), (8.0, 0.03, 0.2)])
def test_speckle_fades_as_pixels_grow(pixel_size_um: float, low: float, high: float) -> None:
    one = recipe(pixel_size_um, field_spread=0.0, vignetting=0.0)
    small = replace(one, size_um=(400.0, 400.0))
    field = acquire(small, even(small), np.random.default_rng(0)).astype(float)
    assert low < field.std() / field.mean() < high


def test_speckle_has_its_grain() -> None:
    one = replace(recipe(2.0, vignetting=0.0), size_um=(400.0, 400.0))
    image = acquire(one, even(one), np.random.default_rng(0)).astype(float)
    image -= image.mean()
    lags = [(image[:, lag:] * image[:, : image.shape[1] - lag]).mean() / image.var() for lag in (1, 2, 4)]
    assert 0.5 < lags[0] < 0.8  # measured: .6 to .7 at 2 µm
    assert 0.1 < lags[1] < 0.35  # measured: .16 to .31 at 4 µm
    assert abs(lags[2]) < 0.1


def test_corners_of_a_field_are_darker() -> None:
    one = replace(recipe(4.0, vignetting=0.3, speckle=0.05), size_um=(500.0, 500.0))
    image = acquire(one, even(one), np.random.default_rng(0)).astype(float)
    assert image[:10, :10].mean() / image[55:70, 55:70].mean() == pytest.approx(0.72, abs=0.05)


def test_an_averaged_mosaic_covers_the_drawn_one() -> None:
    one = recipe(10.0)
    grid = drawing_grid(one)
    assert grid.shape == (600, 900)
    assert grid.pitch_um == pytest.approx(10 / 3)
    assert acquire(one, even(one), np.random.default_rng(0)).shape == (200, 300)


@pytest.mark.parametrize("pixel_size_um", [0.5, 0.7, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("line_um", [240.0, 760.0])
def test_a_scene_drawn_in_rows_lies_where_it_should(pixel_size_um: float, line_um: float) -> None:
    one = replace(recipe(pixel_size_um, field_spread=0.0, vignetting=0.0, speckle=0.05), size_um=(1000.0, 100.0))
    image = acquire(one, Edge(drawing_grid(one), line_um), np.random.default_rng(0)).astype(float).mean(axis=1)
    half = (image.min() + image.max()) / 2
    assert np.argmax(image > half) * pixel_size_um == pytest.approx(line_um, abs=max(4, pixel_size_um))
