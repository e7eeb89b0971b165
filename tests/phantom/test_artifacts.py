from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rcm_cascade.phantom.artifacts import Artifacts, draw_artifacts
from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import make_recipe

SIZE_UM = (4000.0, 4000.0)
GRID = Grid.covering(SIZE_UM, 4.0)
QUIET = {"banks": 1.0, "no_contact_share": 0.0, "bands": 0.001, "furrows": 0.0, "motion": 0.0, "reflections": 0.0}
BARE = {
    "wrinkle_density": 0.0,
    "wrinkle_width": 1.0,
    "spindles": 0.0,
    "follicles": 0.0,
    "openings": 0.0,
    "ducts": 0.0,
    "hairs": 0.0,
}


def draw(grid: Grid | None = None, **dials: Any) -> Artifacts:
    """Skin without any artifact but those named."""
    patient = make_patient(0, 0, 1)
    person = replace(patient, **{**BARE, **{key: value for key, value in dials.items() if hasattr(patient, key)}})
    recipe = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=4, patient=person)
    recipe = replace(recipe, **{**QUIET, **{key: value for key, value in dials.items() if hasattr(recipe, key)}})
    return draw_artifacts(recipe, grid or GRID, np.random.default_rng(1))


def seen(drawn: Artifacts, grid: Grid = GRID) -> np.ndarray[Any, np.dtype[np.float32]]:
    return drawn.cover(np.ones(grid.shape, np.float32), grid)


def test_bare_skin_in_contact_is_seen_as_it_is() -> None:
    drawn = draw()
    assert np.median(seen(drawn)) == pytest.approx(1, abs=0.02)
    assert drawn.mask_on(GRID).mean() < 0.003


def test_thin_wrinkles_are_black_but_belong_to_the_tissue() -> None:
    drawn = draw(wrinkle_density=4.0)
    assert 0.03 < (seen(drawn) < 0.15).mean() < 0.15
    assert drawn.mask_on(GRID).mean() < 0.03


def test_furrows_are_artifact_and_have_bright_banks() -> None:
    drawn = draw(furrows=1.0, banks=2.0)
    mask, light = drawn.mask_on(GRID), seen(drawn)
    assert 0.03 < mask.mean() < 0.25
    assert np.median(light[mask]) < 0.1
    assert 0.01 < (light > 2.5).mean() < 0.2


def test_what_is_out_of_contact_is_black_between_bright_bands() -> None:
    drawn = draw(no_contact_share=0.3)
    light, lost = seen(drawn), drawn.no_contact.on(GRID) > 0.99
    assert drawn.mask_on(GRID)[lost].all()
    assert np.median(light[lost]) < 0.25
    assert np.percentile(light[lost], 99) > 0.8


def test_under_broad_bands_contrast_is_lost() -> None:
    drawn = draw(bands=0.3)
    checks = np.indices(GRID.shape).sum(0) % 2 * np.float32(1)
    light = drawn.cover(checks, GRID)
    contrast = np.abs(np.diff(light, axis=1))
    under = drawn.bands.veil.on(GRID)[:, 1:] > 0.75
    assert under.mean() > 0.03
    assert contrast[under].mean() < 0.45
    assert light[:, 1:][under].mean() > 1.2


@pytest.mark.parametrize("dial", [("follicles", 2.0), ("openings", 1.5), ("hairs", 0.3), ("motion", 0.1)])
def test_what_is_wide_enough_is_artifact(dial: tuple[str, Any]) -> None:
    name, value = dial
    assert 0.005 < draw(None, **{name: value}).mask_on(GRID).mean() < 0.15


def test_ducts_are_not() -> None:
    drawn = draw(ducts=2.5)
    assert (seen(drawn) > 1.3).mean() > 0.0005
    assert drawn.mask_on(GRID).mean() < 0.003


def test_bands_of_rows_are_cut_from_the_whole() -> None:
    drawn = draw(wrinkle_density=3.0, follicles=1.0, no_contact_share=0.1, motion=0.1, bands=0.1)
    grid = Grid.covering(SIZE_UM, 8.0 / 3)
    rows = slice(417, 604)
    part = drawn.cover(np.ones((187, grid.width), np.float32), grid, rows)
    np.testing.assert_allclose(part, seen(drawn, grid)[rows], atol=0.03)
    assert (drawn.mask_on(grid, rows) == drawn.mask_on(grid)[rows]).mean() > 0.9999


def test_artifacts_are_the_same_at_any_pitch() -> None:
    dials = {"wrinkle_density": 3.0, "follicles": 1.0, "no_contact_share": 0.1, "motion": 0.1, "hairs": 0.2}
    fine, coarse = Grid.covering(SIZE_UM, 2.0), Grid.covering(SIZE_UM, 4.0)
    sharp, blurred = draw(fine, **dials), draw(coarse, **dials)
    assert (sharp.mask_on(coarse) == blurred.mask_on(coarse)).mean() > 0.995
    views = [seen(one, grid) for one, grid in ((sharp, fine), (blurred, coarse))]
    views = [view.reshape(250, len(view) // 250, 250, -1).mean((1, 3)) for view in views]
    assert np.corrcoef(views[0].reshape(-1), views[1].reshape(-1))[0, 1] > 0.98
