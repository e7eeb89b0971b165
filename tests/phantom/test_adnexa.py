from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import label

from rcm_cascade.phantom.adnexa import Hairs, draw_ducts, draw_openings, draw_pits
from rcm_cascade.phantom.canvas import Canvas
from rcm_cascade.phantom.contact import Contact
from rcm_cascade.phantom.fields import Float, Grid
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe

SIZE_UM = (6000.0, 6000.0)
GRID = Grid.covering(SIZE_UM, 4.0)


def recipe(no_contact_share: float = 0.0, **patient: Any) -> Recipe:
    person = replace(make_patient(0, 0, 1), wrinkle_direction=0.0, **patient)
    drawn = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=4, patient=person)
    return replace(drawn, no_contact_share=no_contact_share)


def touching(one: Recipe) -> Contact:
    return Contact(one, np.random.default_rng(1))


def canvases() -> tuple[Canvas, Canvas, Canvas]:
    return Canvas(GRID), Canvas(GRID, 8.0, power=2), Canvas(GRID)


def regions(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[int, Float]:
    """How many, and their areas in µm²."""
    labels, count = label(mask)
    return count, np.bincount(labels.reshape(-1))[1:].astype(np.float32) * GRID.pitch_um**2


def test_pits_are_black_holes_of_100_to_250_micrometres() -> None:
    one, (dark, bright, hidden) = recipe(follicles=1.0), canvases()
    draw_pits(one, touching(one), dark, bright, hidden, np.random.default_rng(0))
    count, areas = regions(dark.on(GRID) > 0.5)
    assert 25 < count < 50
    middle = np.median(np.sqrt(areas * 4 / np.pi))
    assert 115 < middle < 190
    both = (hidden.on(GRID) > 0.5) & (dark.on(GRID) > 0.5)
    assert both.sum() > 0.9 * (hidden.on(GRID) > 0.5).sum()
    assert 0.2 < bright.on(GRID).max() < 8


def test_openings_are_bright_and_longer_than_wide() -> None:
    one, (_, bright, hidden) = recipe(openings=0.8), canvases()
    draw_openings(one, touching(one), bright, hidden, np.random.default_rng(0))
    labels, count = label(bright.on(GRID) > 0.5)
    assert 12 < count < 45
    extents = np.array([np.ptp(np.nonzero(labels == index), axis=1) for index in range(1, count + 1)]) * 4
    assert np.median(extents[:, 1]) > 1.7 * np.median(extents[:, 0])  # they lie along the wrinkles, here the rows
    assert 180 < np.median(extents[:, 1]) < 380
    assert bright.on(GRID)[hidden.on(GRID) > 0.5].mean() > 0.8


def test_ducts_are_small_bright_rings() -> None:
    one, (dark, bright, _) = recipe(ducts=1.3), canvases()
    draw_ducts(one, touching(one), dark, bright, np.random.default_rng(0))
    count, areas = regions(dark.on(GRID) > 0.3)
    assert 30 < count < 65
    assert 30 < np.median(np.sqrt(areas * 4 / np.pi)) < 60
    assert bright.on(GRID)[dark.on(GRID) > 0.3].mean() > 0.3


@pytest.mark.parametrize("draw", [draw_openings, draw_pits])
def test_nothing_is_seen_where_contact_is_lost(draw: Any) -> None:
    one = recipe(0.4, openings=3.0, follicles=3.0)
    contact, (dark, bright, hidden) = touching(one), canvases()
    rest = (dark, bright, hidden) if draw is draw_pits else (bright, hidden)
    draw(one, contact, *rest, np.random.default_rng(0))
    lost = contact.beyond.on(GRID) > 0.04
    assert bright.on(GRID)[~lost].max() > 1
    assert hidden.on(GRID)[lost].max() == 0


def test_hairs_have_a_shaft_and_a_shadow_beside_it() -> None:
    hairs = Hairs(recipe(hairs=0.3), np.random.default_rng(0))
    dark, bright, hidden = canvases()
    dark.fill([ribbon for ribbon, _ in hairs.shadows], [value for _, value in hairs.shadows])
    bright.fill([ribbon for ribbon, _ in hairs.shafts], [value for _, value in hairs.shafts])
    hidden.fill(hairs.hidden, [1.0] * len(hairs.hidden))
    shaft, shadow = bright.on(GRID) > 0.2, dark.on(GRID) > 0.5
    assert shaft.sum() > 1000
    assert 0.3 * shaft.sum() < (shadow & ~shaft).sum() < 3 * shaft.sum()
    assert (hidden.on(GRID)[shaft | shadow] > 0.4).mean() > 0.99
    assert Hairs(recipe(hairs=0.0), np.random.default_rng(0)).shafts == []
