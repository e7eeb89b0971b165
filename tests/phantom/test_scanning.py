from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.phantom.fields import Float, Grid, noise
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe
from rcm_cascade.phantom.scanning import FIELD_UM, Moved, Rings, Scanning, draw_scanning

SIZE_UM = (5800.0, 6000.0)


def recipe(motion: float = 0.0, reflections: float = 0.0) -> Recipe:
    drawn = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=8, patient=make_patient(0, 0, 1))
    return replace(drawn, motion=motion, reflections=reflections)


def field(pitch_um: float = 4.0) -> Float:
    values = noise(np.random.default_rng(0), (FIELD_UM, FIELD_UM), 40)
    return 1 + 0.2 * values.on(Grid.covering((FIELD_UM, FIELD_UM), pitch_um))


def one_strip(strip: Moved, strength: float = 0.0) -> Scanning:
    rings = Rings((200.0, 260.0), 150.0, 5 / 150**2, 0.0, np.full((12, 12), strength, np.float32))
    return Scanning({(2, 3): [strip]}, rings)


def strip(slide_um: float = 0.0, gain: float = 1.0, held_um: float = 0.0) -> Moved:
    return Moved(100.0, 220.0, np.full(12, slide_um), np.full(12, gain), held_um)


def test_a_quiet_scan_changes_nothing() -> None:
    scanning = draw_scanning(recipe(), np.random.default_rng(0))
    part = field()
    assert all(scanning.distort(part, row, column, 4.0) is part for row in range(12) for column in range(12))
    assert not scanning.mask_on(Grid.covering(SIZE_UM, 8)).any()


@pytest.mark.parametrize("pitch_um", [2.0, 4.0])
def test_rows_slide_within_their_strip(pitch_um: float) -> None:
    part = field(pitch_um)
    moved = one_strip(strip(slide_um=40.0)).distort(part, 2, 3, pitch_um)
    first, last, slide = (round(length / pitch_um) for length in (100, 220, 40))
    np.testing.assert_array_equal(moved[:first], part[:first])
    np.testing.assert_array_equal(moved[last:], part[last:])
    np.testing.assert_array_equal(moved[first:last, slide:], part[first:last, :-slide])
    assert one_strip(strip(40.0)).distort(part, 3, 3, pitch_um) is part


def test_held_rows_show_the_same_line() -> None:
    moved = one_strip(strip(held_um=60.0)).distort(field(), 2, 3, 4.0)
    assert np.abs(np.diff(moved[25:40], axis=0)).max() == 0
    assert np.abs(moved[40] - moved[39]).max() > 0


def test_flashes_change_the_gain_of_rows() -> None:
    part = field()
    moved = one_strip(strip(gain=3.0)).distort(part, 2, 3, 4.0)
    np.testing.assert_allclose(moved[25:55], 3 * part[25:55], rtol=1e-5)


def test_a_field_may_be_cut_off_at_the_border() -> None:
    part = field()[:40, :70]
    assert one_strip(strip(slide_um=40.0), 0.3).distort(part, 2, 3, 4.0).shape == part.shape
    assert one_strip(strip(slide_um=40.0), 0.3).distort(part[:3], 2, 3, 4.0).shape == (3, 70)


def test_whole_pixels_may_reach_into_one_more_field() -> None:
    scanning = draw_scanning(replace(recipe(reflections=0.2), size_um=(1500.0, 1500.0)), np.random.default_rng(0))
    assert scanning.distort(np.ones((1, 125), np.float32), 3, 2, 4.0).shape == (1, 125)


def test_a_strip_that_moved_is_artifact() -> None:
    grid = Grid.covering(SIZE_UM, 10)
    mask = one_strip(strip(20.0)).mask_on(grid)
    assert mask[110:122, 150:200].all()
    assert mask.sum() == 12 * 50
    np.testing.assert_array_equal(one_strip(strip(20.0)).mask_on(grid, slice(100, 115)), mask[100:115])


def test_rings_lie_in_the_same_place_of_every_field() -> None:
    scanning = draw_scanning(recipe(reflections=0.3), np.random.default_rng(0))
    even = np.ones((125, 125), np.float32)
    first, second = (scanning.distort(even, *place, 4.0) - 1 for place in ((0, 0), (7, 4)))
    assert np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1] > 0.99
    assert 0.05 < first.max() < 0.8
    assert not scanning.mask_on(Grid.covering(SIZE_UM, 8)).mean() > 0.02


def test_strong_rings_hide_the_tissue() -> None:
    scanning = draw_scanning(recipe(reflections=1.0), np.random.default_rng(0))
    assert 0.05 < scanning.mask_on(Grid.covering(SIZE_UM, 8)).mean() < 0.5


def test_the_skin_moves_in_the_share_of_fields_that_was_asked_for() -> None:
    def moved(seed: int) -> float:
        scanning, part = draw_scanning(recipe(motion=0.1), np.random.default_rng(seed)), field()
        places = [(row, column) for row in range(12) for column in range(12)]
        return float(np.mean([scanning.distort(part, *place, 4.0) is not part for place in places]))

    assert np.mean([moved(seed) for seed in range(8)]) == pytest.approx(0.1, abs=0.05)
