import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.layout import draw_layout
from rcm_cascade.phantom.patterns import PAINTERS, Tissue
from rcm_cascade.phantom.window import Window
from tests.phantom.looking import SIZE_UM, recipe, texture


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


@pytest.mark.parametrize("class_id", PAINTERS)
def test_no_tissue_is_a_lattice(class_id: int) -> None:
    profile = autocorrelation(texture(class_id), 40)
    assert profile.min() > -0.08
    assert 0.2 < profile[1] < 0.95


def test_rings_dip_no_deeper_than_real_ones() -> None:
    assert min(autocorrelation(texture(3, seed), 40).min() for seed in range(3)) > -0.05


def test_tissues_differ_in_contrast() -> None:
    spreads = {class_id: texture(class_id).std() / texture(class_id).mean() for class_id in PAINTERS}
    assert spreads[4] > 1.4 * spreads[5]
    assert spreads[3] > 1.2 * spreads[0]
    assert all(math.isfinite(spread) and 0.1 < spread < 1 for spread in spreads.values())


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    one = recipe()
    return Tissue(one, draw_layout(one, np.random.default_rng(1)), np.random.default_rng(2))


def test_tissue_is_about_one_on_average(tissue: Tissue) -> None:
    drawn = tissue.draw(Window.whole(Grid.covering(SIZE_UM, 4.0)))
    assert drawn.mean() == pytest.approx(1, abs=0.3)
    assert drawn.min() > 0


def test_rows_drawn_apart_meet(tissue: Tissue) -> None:
    grid = Grid.covering(SIZE_UM, 4.0)
    whole = tissue.draw(Window.whole(grid))
    parts = [
        tissue.draw(Window(grid, slice(top, min(top + 125, grid.height)), slice(0, grid.width)))
        for top in range(0, grid.height, 125)
    ]
    away = np.abs(np.concatenate(parts) - whole)
    assert away.mean() < 0.005
    assert np.percentile(away, 99.9) < 0.1
