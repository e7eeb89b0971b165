from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.data.phantom.artifacts import Artifacts, draw_artifacts
from rcm_cascade.data.phantom.fields import Grid
from rcm_cascade.data.phantom.people import make_patient
from rcm_cascade.data.phantom.recipe import make_recipe

SIZE_UM = (4000.0, 4000.0)
GRID = Grid.covering(SIZE_UM, 4.0)


def draw(no_contact_share: float = 0.1, direction: float = 0.0) -> Artifacts:
    patient = replace(make_patient(0, 0, 1), wrinkle_direction=direction, wrinkle_density=1.5)
    recipe = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=4, patient=patient)
    return draw_artifacts(replace(recipe, no_contact_share=no_contact_share), GRID, np.random.default_rng(0))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_contact_is_lost_on_its_share(share: float) -> None:
    assert (draw(share).no_contact.values > 0.5).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("direction", "axis"), [(0.0, 1), (np.pi / 2, 0)])
def test_wrinkles_run_one_way(direction: float, axis: int) -> None:
    shadow = draw(direction=direction).shadow.values
    assert 0.005 < (shadow > 0.5).mean() < 0.2
    along, across = (np.abs(np.diff(shadow, axis=which)).mean() for which in (axis, 1 - axis))
    assert across > 1.5 * along


def test_wide_wrinkles_are_artifact_and_thin_ones_are_not() -> None:
    drawn = draw(0.02)
    mask, dark = drawn.mask_on(GRID), drawn.shadow.values > 0.5
    contact = drawn.no_contact.values < 0.01
    assert 0.02 < mask[dark & contact].mean() < 0.8


def test_what_is_out_of_contact_is_black_between_contours() -> None:
    drawn = draw(0.3)
    seen = drawn.cover(np.ones(GRID.shape, np.float32), GRID)
    lost = drawn.no_contact.values > 0.99
    assert np.median(seen[lost]) < 0.1
    assert np.percentile(seen[lost], 99.5) > 0.5
    assert np.median(seen[drawn.no_contact.values < 0.01]) == pytest.approx(1, abs=0.1)
