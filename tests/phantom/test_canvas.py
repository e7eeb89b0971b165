import numpy as np
import pytest

from rcm_cascade.phantom.canvas import Canvas, Ribbon, sides
from rcm_cascade.phantom.fields import Grid

GRID = Grid.covering((400.0, 600.0), 2.0)


def bar(down_um: float, right_um: float, width_um: float, length_um: float = 100.0, lean: float = 0.0) -> Ribbon:
    place = np.arange(0, length_um + 1, 5.0)
    points = np.stack([down_um + lean * place, right_um + place], -1)
    half = np.full(len(place), width_um / 2)
    return Ribbon(points, sides(points), half, half)


@pytest.mark.parametrize("power", [1, 2])
def test_values_are_kept_to_the_eight_bits(power: int) -> None:
    canvas = Canvas(GRID, most=8.0, power=power)
    values = np.linspace(0, 8, 300, dtype=np.float32)[None].repeat(200, 0)
    canvas.put(slice(0, 200), values)
    assert np.abs(canvas.on(GRID) - values).max() < (0.02 if power == 1 else 0.035)
    small = values < 0.05
    assert np.abs(canvas.on(GRID) - values)[small].max() < (0.02 if power == 1 else 0.004)


def test_a_line_lies_where_it_was_put_and_the_higher_one_on_top() -> None:
    canvas = Canvas(GRID)
    canvas.fill([bar(150, 200, 100), bar(200, 250, 100)], [1.0, 0.4])
    drawn = canvas.on(GRID)
    assert drawn[52:98, 102:148].min() == pytest.approx(1, abs=0.01)
    assert drawn[110:120, 160:170].mean() == pytest.approx(0.4, abs=0.01)
    assert drawn[:48].max() == drawn[:, :98].max() == 0


def test_what_lies_outside_is_left_out() -> None:
    canvas = Canvas(GRID)
    canvas.fill([bar(-100, 0, 100), bar(1000, 1000, 100)], [1.0, 1.0])
    assert canvas.on(GRID).max() == 0
    assert canvas.spot(np.array([-100.0, 50.0]), 60.0) is None


def test_a_spot_is_measured_from_its_centre() -> None:
    canvas = Canvas(GRID)
    spot = canvas.spot(np.array([50.0, 590.0]), 30.0)
    assert spot is not None
    canvas.cover(spot.rows, spot.columns, np.asarray(np.hypot(spot.y, spot.x) < 20, np.float32))
    y, x = np.nonzero(canvas.on(GRID))
    assert (y.mean() + 0.5) * 2 == pytest.approx(50, abs=1)
    assert (x.min() + 0.5) * 2 == pytest.approx(571, abs=1.1)
    assert x.max() == 299


@pytest.mark.parametrize("pitch_um", [0.7, 2.0, 7.0])
def test_rows_are_cut_from_the_whole(pitch_um: float) -> None:
    canvas = Canvas(GRID, most=3.0, power=2)
    canvas.fill([bar(150, 200, 100), bar(190, 210, 100)], [3.0, 1.0])
    target = Grid.covering((400.0, 600.0), pitch_um)
    whole = canvas.on(target)
    assert whole.shape == target.shape
    cut = slice(target.height // 5, target.height // 2)
    np.testing.assert_allclose(canvas.on(target, cut), whole[cut], atol=0.02)


@pytest.mark.parametrize("pitch_um", [1.0, 2.0, 3.3, 4.0, 8.0])
@pytest.mark.parametrize("width_um", [3.0, 12.0, 40.0])
def test_a_line_is_as_wide_as_it_was_asked_for_on_any_grid(pitch_um: float, width_um: float) -> None:
    canvas = Canvas(Grid.covering((400.0, 600.0), pitch_um))
    canvas.fill([bar(100, 100, width_um, length_um=400, lean=0.4)], [1.0])
    length = 400 * np.hypot(1, 0.4)
    assert canvas.on(canvas.grid).sum() * pitch_um**2 / length == pytest.approx(width_um, abs=1.4)


def test_sides_are_unit_vectors_across_the_line() -> None:
    place = np.arange(0, 400, 5.0)
    points = np.stack([30 * np.sin(place / 90), place], -1)
    across = sides(points)
    np.testing.assert_allclose(np.linalg.norm(across, axis=1), 1, atol=1e-6)
    assert np.abs((across[8:-8] * np.gradient(points, axis=0)[8:-8]).sum(1)).max() < 0.5
