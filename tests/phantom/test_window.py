import numpy as np
import pytest

from rcm_cascade.phantom.cells import pack
from rcm_cascade.phantom.fields import Grid, noise
from rcm_cascade.phantom.window import Window

GRID = Grid(250, 250, 4.0)


def test_filled_cells_have_their_area_and_value() -> None:
    cells = pack(np.array([[500.0, 400.0]]), np.array([200.0]), 10)
    drawn = Window.whole(GRID).fill(cells, np.array([0.6]))
    assert drawn.max() == pytest.approx(0.6, abs=0.01)
    assert drawn.sum() * 16 / 0.6 == pytest.approx(np.pi * 170**2, rel=0.03)
    y, x = np.nonzero(drawn > 0.3)
    assert ((y.mean() + 0.5) * 4, (x.mean() + 0.5) * 4) == pytest.approx((500, 400), abs=1)


def test_a_part_is_drawn_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    centres, sizes = rng.uniform(0, 1000, (60, 2)), rng.uniform(40, 150, 60)
    cells, values = pack(centres, sizes, 8), rng.uniform(0.2, 1, 60)
    whole, part = Window.whole(GRID), Window(GRID, slice(31, 90), slice(100, 177))
    inside = (part.rows, part.columns)
    away = np.abs(part.fill(cells, values) - whole.fill(cells, values)[inside])
    assert (away > 0.02).mean() < 0.005  # some pixels at the border
    np.testing.assert_array_equal(part.splat(centres, sizes), whole.splat(centres, sizes)[inside])
    field = noise(rng, (1000, 1000), 60)
    np.testing.assert_allclose(part.read(field), whole.read(field)[inside], atol=0.05)


def test_splatted_weights_are_kept_and_outsiders_left_out() -> None:
    points = np.array([[1.0, 1.0], [5.0, 9.0], [-1.0, 2.0], [2.0, 11.0]])
    drawn = Window.whole(Grid(3, 5, 2.0)).splat(points, np.array([1.0, 2.0, 4.0, 8.0]))
    assert drawn.sum() * 4 == pytest.approx(3)
    assert drawn[0, 0] == pytest.approx(0.25)
    assert drawn[2, 4] == pytest.approx(0.5)


def test_a_margin_ends_at_the_grid() -> None:
    window = Window.whole(GRID).part(slice(2, 20), slice(200, 248))
    wide, crop = window.widened(40)
    assert (wide.rows, wide.columns) == (slice(0, 30), slice(190, 250))
    assert crop == (slice(2, 20), slice(10, 58))
    assert window.part(slice(1, 3), slice(4, 6)) == Window(GRID, slice(3, 5), slice(204, 206))
