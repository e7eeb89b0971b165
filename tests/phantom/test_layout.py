from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.layout import Layout, draw_layout
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import make_recipe


def layout(lesion_share: float) -> Layout:
    recipe = make_recipe(seed=0, index=0, size_um=(4000, 6000), pixel_size_um=8, patient=make_patient(0, 0, 1))
    return draw_layout(replace(recipe, lesion_share=lesion_share), np.random.default_rng(0))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_the_lesion_has_its_share_and_lies_in_the_middle(share: float) -> None:
    drawn = layout(share)
    inside = drawn.lesion_depth.values > 0
    assert inside.mean() == pytest.approx(share, abs=0.02)
    middle = inside[80:120, 120:180].mean()
    corners = np.mean([inside[y, x] for y in (0, -1) for x in (0, -1)])
    assert middle > 0.9 > corners
    assert (drawn.tissue_on(Grid.covering((4000, 6000), 8)) != 0).mean() == pytest.approx(share, abs=0.03)


def test_weights_share_every_place_and_borders_are_blended() -> None:
    drawn = layout(0.8)
    weights = np.stack([field.values for field in drawn.weights.values()])
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)
    assert weights.min() >= 0
    assert 0.05 < (weights.max(0) < 0.9).mean() < 0.5
    assert set(drawn.weights) == {0, 2, 3, 4, 5}


def test_strips_are_cut_from_the_whole() -> None:
    drawn, grid = layout(0.6), Grid.covering((4000, 6000), 8)
    whole = drawn.tissue_on(grid)
    assert (drawn.tissue_on(grid, slice(100, 300)) == whole[100:300]).mean() > 0.999
