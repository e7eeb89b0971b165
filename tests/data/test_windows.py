import numpy as np
import pytest

from rcm_cascade.data.windows import PatchGeometry, draw_position, read_square, window_grid, window_starts


@pytest.mark.parametrize("length", range(1, 60))
def test_windows_reach_the_last_pixel(length: int) -> None:
    starts = window_starts(length, 16, 8)
    assert starts[0] == 0
    assert len(set(starts.tolist())) == len(starts)
    covered = np.zeros(max(length, 16), bool)
    for start in starts:
        covered[start : start + 16] = True
    assert covered[:length].all()
    assert starts[-1] == max(length - 16, 0)


def test_the_papers_rule_on_a_six_millimetre_mosaic() -> None:
    """1 mm windows on a 0.5 mm grid at 1 µm: 11 by 11."""
    assert len(window_grid((6000, 6000), PatchGeometry(1000, 500, 500))) == 121


@pytest.mark.parametrize(("window", "stride", "patch"), [(0, 1, 1), (4, 0, 2), (4, 2, 0), (4, 2, 5)])
def test_impossible_sizes_are_refused(window: int, stride: int, patch: int) -> None:
    with pytest.raises(ValueError, match="no larger than the window"):
        PatchGeometry(window, stride, patch)


def test_every_valid_position_is_drawn_the_last_too_and_no_other() -> None:
    rng = np.random.default_rng(0)
    window = np.array([3, 5, 13, 17])
    drawn = {draw_position(rng, window, 8, np.ones((10, 12), bool)) for _ in range(500)}
    assert drawn == {(y, x) for y in (3, 4, 5) for x in (5, 6, 7, 8, 9)}


def test_patches_without_a_wanted_pixel_are_never_drawn_and_the_rest_evenly() -> None:
    rng = np.random.default_rng(0)
    wanted = np.zeros((64, 64), bool)
    wanted[63, 63] = True
    window = np.array([0, 0, 64, 64])
    positions = [draw_position(rng, window, 4, wanted) for _ in range(50)]
    assert set(positions) == {(60, 60)}
    wanted[0, 0] = True
    share = np.mean([draw_position(rng, window, 4, wanted) == (0, 0) for _ in range(2000)])
    assert 0.45 < share < 0.55


def test_a_window_without_a_wanted_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="no wanted pixel"):
        draw_position(np.random.default_rng(0), np.array([0, 0, 8, 8]), 4, np.zeros((8, 8), bool))


def test_a_window_smaller_than_the_patch_is_drawn_from_its_start() -> None:
    drawn = {
        draw_position(np.random.default_rng(i), np.array([0, 0, 5, 9]), 8, np.ones((5, 9), bool)) for i in range(9)
    }
    assert drawn == {(0, 0), (0, 1)}


@pytest.mark.parametrize(("top", "left"), [(0, 0), (-3, 2), (7, 9), (-20, -20), (30, 5)])
def test_squares_beyond_the_border(top: int, left: int) -> None:
    array = np.random.default_rng(0).integers(0, 200, (10, 12)).astype(np.uint8)
    assert len(np.unique(array)) > 50
    padded = np.pad(array, 40, mode="edge")
    filled = np.pad(array, 40, constant_values=255)
    y, x = top + 40, left + 40
    assert np.array_equal(read_square(array, top, left, 8, None), padded[y : y + 8, x : x + 8])
    assert np.array_equal(read_square(array, top, left, 8, 255), filled[y : y + 8, x : x + 8])
