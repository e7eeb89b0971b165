from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.phantom.canvas import Canvas
from rcm_cascade.phantom.contact import Contact, draw_bubbles
from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe

SIZE_UM = (4000.0, 4000.0)
GRID = Grid.covering(SIZE_UM, 4.0)
EVERY = slice(None)


def recipe(share: float, side: float = 0.0) -> Recipe:
    drawn = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=4, patient=make_patient(0, 0, 1))
    return replace(drawn, no_contact_share=share, no_contact_side=side)


def contact(share: float, side: float = 0.0, seed: int = 0) -> Contact:
    return Contact(recipe(share, side), np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.4])
def test_contact_is_lost_on_its_share(share: float) -> None:
    assert (contact(share).lost.values > 0.5).mean() == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(("side", "edge"), [(0.0, np.s_[:, -80:]), (np.pi / 2, np.s_[-80:]), (np.pi, np.s_[:, :80])])
def test_it_is_lost_on_the_side_that_the_recipe_names(side: float, edge: tuple[slice, ...]) -> None:
    lost = np.mean([contact(0.2, side, seed).lost.values for seed in range(5)], axis=0)
    assert lost[edge].mean() > 0.55
    assert lost[edge].mean() > 4 * lost.mean(where=np.isin(np.arange(400), np.arange(160, 240)))


def test_wavy_bands_cross_the_black_and_nothing_else() -> None:
    drawn = contact(0.3)
    light, lost = drawn.contours(GRID, EVERY), drawn.lost.on(GRID)
    assert light[lost < 0.05].max() < 1.0
    inside = light[lost > 0.99]
    assert np.median(inside) < 0.25
    assert 0.02 < (inside > 0.6).mean() < 0.3
    assert inside.max() > 2
    # far from the border they fade
    depth = drawn.beyond.on(GRID)
    assert light[(depth > 0.01) & (depth < 0.06)].mean() > 2 * light[depth > 0.2].mean()


def test_bands_are_cut_from_the_whole() -> None:
    drawn = contact(0.3)
    rows = slice(301, 444)
    np.testing.assert_allclose(drawn.contours(GRID, rows), drawn.contours(GRID, EVERY)[rows], atol=1e-2)


def test_bubbles_are_circles_out_of_contact() -> None:
    bright, drawn = Canvas(GRID, 8.0, power=2), contact(0.4)
    draw_bubbles(recipe(0.4), drawn, bright, np.random.default_rng(0))
    light, depth = bright.on(GRID), drawn.beyond.on(GRID)
    assert 0.001 < (light > 0.3).mean() < 0.05
    assert light[depth > 0].sum() > 8 * light[depth < 0].sum()
