from collections.abc import Callable

import numpy as np
import pytest

from rcm_cascade.phantom.bench import Bench, Draw
from rcm_cascade.phantom.cells import pack
from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.strokes import beads, bright_cells, fibres, furrows
from rcm_cascade.phantom.window import Window
from tests.phantom.looking import GRID, bench

WHOLE = Window.whole(GRID)


def test_a_beaded_outline_is_about_one_along_its_line_and_thin() -> None:
    disc = pack(np.array([[1200.0, 1200.0]]), np.array([800.0]), 10)
    window = Window.whole(Grid(2400, 2400, 1.0))
    drawn = beads(bench(), disc, 0.0, gaps=0.0)(window)
    y, x = np.indices(drawn.shape)
    away = np.abs(np.hypot(y - 1200, x - 1200) - 680)
    profile = np.array([drawn[(away >= a) & (away < a + 2)].mean() for a in range(0, 40, 2)])
    assert profile[0] == pytest.approx(1, abs=0.3)
    assert 10 < 4 * np.count_nonzero(profile > profile[0] / 2) < 22  # µm, both sides
    assert drawn[away < 4].std() > 0.2  # beads


def test_an_outline_can_be_left_out() -> None:
    two = pack(np.array([[600.0, 600.0], [1800.0, 1800.0]]), np.array([300.0, 300.0]), 10)
    drawn = beads(bench(), two, 0.2, np.array([1.0, 0.0]))(WHOLE)
    assert drawn[:300, :300].max() > 0.5
    assert drawn[300:, 300:].max() == 0


def test_no_cells_no_beads() -> None:
    empty = pack(np.empty((0, 2)), np.empty(0), 10)
    assert not beads(bench(), empty, 0.3)(WHOLE).any()


def test_bright_cells_are_as_many_as_asked_for() -> None:
    few, many = (bright_cells(bench(), per_mm2=count, clustering=0.0)(WHOLE).mean() for count in (20, 200))
    assert many / few == pytest.approx(10, rel=0.3)


def test_fibres_are_bright_lines_on_nothing() -> None:
    drawn = fibres(bench(), 60)(WHOLE)
    assert np.percentile(drawn, 40) < 0.1
    assert 0.9 < drawn.max() < 1.6


def test_furrows_cover_little_and_cross() -> None:
    drawn = furrows(bench())(WHOLE)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert 0.005 < (drawn > 0.5).mean() < 0.1


@pytest.mark.parametrize("stroke", [lambda b: fibres(b, 60), furrows, lambda b: bright_cells(b, 100, 0.5)])
def test_a_part_is_drawn_as_the_whole(stroke: Callable[[Bench], Draw]) -> None:
    draw = stroke(bench())
    part = Window(GRID, slice(100, 220), slice(300, 420))
    wide, crop = part.widened(40)
    np.testing.assert_allclose(draw(wide)[crop], draw(WHOLE)[part.rows, part.columns], atol=0.06)
