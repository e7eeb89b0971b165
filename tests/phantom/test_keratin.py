from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.keratin import Bands, draw_bands, drawn_out
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import make_recipe

SIZE_UM = (6000.0, 6000.0)


def bands(share: float, seed: int = 0) -> Bands:
    recipe = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=8, patient=make_patient(0, 0, 1))
    return draw_bands(replace(recipe, bands=share), np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_bands_lie_on_their_share_of_the_area(share: float) -> None:
    drawn = bands(share)
    assert (drawn.veil.values > 0.425).mean() == pytest.approx(share, abs=0.01)
    assert drawn.veil.values.min() >= 0
    assert drawn.veil.values.max() < 0.9
    assert drawn.light.values.min() >= 0


def test_they_are_bright_broad_and_blurred() -> None:
    light = np.concatenate([bands(0.2, seed).light.values for seed in range(3)])
    assert np.percentile(light, 97) > 1.0
    assert np.percentile(light, 30) < 0.15
    steps = np.abs(np.diff(light, axis=1))
    assert steps.max() < 0.35 * light.max()  # over 20 µm


@pytest.mark.parametrize(("direction", "axis"), [(0.0, 1), (np.pi / 2, 0)])
def test_noise_is_drawn_out_one_way(direction: float, axis: int) -> None:
    values = drawn_out(np.random.default_rng(0), SIZE_UM, 200, 4, direction).on(Grid.covering(SIZE_UM, 20))
    along, across = (np.abs(np.diff(values, axis=which)).mean() for which in (axis, 1 - axis))
    assert across == pytest.approx(4 * along, rel=0.2)
    assert values.std() == pytest.approx(1, abs=0.15)


def test_noise_is_drawn_out_askew() -> None:
    values = drawn_out(np.random.default_rng(0), SIZE_UM, 150, 5, np.pi / 4).on(Grid.covering(SIZE_UM, 20))
    down_right = np.abs(values[1:, 1:] - values[:-1, :-1]).mean()
    down_left = np.abs(values[1:, :-1] - values[:-1, 1:]).mean()
    assert down_left > 3 * down_right
