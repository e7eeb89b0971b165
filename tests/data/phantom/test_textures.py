import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.data.phantom.fields import Field, Grid, noise
from rcm_cascade.data.phantom.people import make_patient
from rcm_cascade.data.phantom.recipe import make_recipe
from rcm_cascade.data.phantom.textures import PAINTERS, Bench

PITCH_UM = 4.0
SIZE_UM = (2400.0, 2400.0)


def texture(class_id: int) -> NDArray[np.float64]:
    """One tissue over 2.4 mm, averaged to 8 µm."""
    rng = np.random.default_rng(class_id)
    recipe = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=8, patient=make_patient(0, 0, 1))
    grid = Grid.covering(SIZE_UM, PITCH_UM)
    where = Field(np.ones((1, 1), np.float32), Grid(1, 1, SIZE_UM[0]))
    shared = [noise(rng, SIZE_UM, scale).on(grid) for scale in (9, 28, 160)]
    drawn = PAINTERS[class_id](Bench(recipe, grid, rng, 1.0, shared[0], shared[1], shared[2], where))
    coarse: NDArray[np.float64] = drawn.reshape(300, 2, 300, 2).mean((1, 3)).astype(np.float64)
    return coarse


def autocorrelation(values: NDArray[np.float64], farthest: int) -> NDArray[np.float64]:
    """Radial mean at 0, 1, … px, of the deviations from the mean."""
    size = values.shape[0]
    away = values - values.mean()
    power = np.abs(np.fft.rfft2(away, (2 * size, 2 * size))) ** 2
    overlap = np.abs(np.fft.rfft2(np.ones_like(away), (2 * size, 2 * size))) ** 2
    raw = np.fft.irfft2(power) / np.maximum(np.fft.irfft2(overlap), 1)
    lag = np.minimum(np.arange(2 * size), 2 * size - np.arange(2 * size))
    radius = np.rint(np.hypot(lag[:, None], lag[None])).astype(int)
    near = radius < farthest
    total = np.bincount(radius[near], raw[near])
    profile: NDArray[np.float64] = total / np.bincount(radius[near]) / raw[0, 0]
    return profile


def skewness(values: NDArray[np.float64]) -> float:
    away = (values - values.mean()) / values.std()
    return float((away**3).mean())


@pytest.mark.parametrize("class_id", PAINTERS)
def test_no_tissue_is_a_lattice(class_id: int) -> None:
    profile = autocorrelation(texture(class_id), 40)
    assert profile.min() > -0.08
    assert 0.2 < profile[1] < 0.9


def test_rings_dip_no_deeper_than_real_ones() -> None:
    assert autocorrelation(texture(3), 40).min() > -0.05


def test_rims_are_bright_and_holes_are_dark() -> None:
    ring, mesh = texture(3), texture(2)
    assert skewness(ring) > 0.4
    assert skewness(mesh) < 0.1


def test_tissues_differ_in_contrast_and_scale() -> None:
    spreads = {class_id: texture(class_id).std() / texture(class_id).mean() for class_id in PAINTERS}
    assert spreads[4] > 1.4 * spreads[5]
    assert spreads[3] > 1.2 * spreads[0]
    assert all(math.isfinite(spread) and 0.1 < spread < 1 for spread in spreads.values())
