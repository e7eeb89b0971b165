import numpy as np
import pytest

from rcm_cascade.phantom.banks import bank_lines, base_lines, bright_stretches
from rcm_cascade.phantom.canvas import Canvas, Ribbon, sides
from rcm_cascade.phantom.fields import Float, Grid
from rcm_cascade.phantom.wrinkles import Line

GRID = Grid.covering((400.0, 4000.0), 4.0)


def line(width_um: float, bank_um: float = 0.0) -> Line:
    points = np.stack([np.full(800, 200.0), np.arange(800) * 5.0], -1)
    half = np.full(800, width_um / 2)
    return Line(Ribbon(points, sides(points), half, half), 1.0, bank_um)


def drawn(ribbons: list[Ribbon]) -> Float:
    canvas = Canvas(GRID)
    canvas.fill(ribbons, [1.0] * len(ribbons))
    return canvas.on(GRID)


def test_bright_stretches_lie_beside_the_line_here_and_there() -> None:
    stretches = bright_stretches(np.random.default_rng(0), line(40))
    light = drawn([ribbon for ribbon, _ in stretches])
    assert light[46:54].mean() < 0.02  # within the line
    beside = light[35:65].max(axis=0) > 0.5
    assert 0.15 < beside.mean() < 0.85
    assert light[:20].max() == light[80:].max() == 0


@pytest.mark.parametrize(("thin", "banked"), [(line(30), False), (line(90), True), (line(30, bank_um=50), True)])
def test_furrows_and_wide_wrinkles_have_banks(thin: Line, banked: bool) -> None:
    ribbons = bank_lines(np.random.default_rng(0), thin)
    assert bool(ribbons) == banked
    if banked:
        light = drawn(ribbons)
        width = light[:, 200:800].sum(0) * 4
        assert width.min() > thin.width.min()
        assert width.std() > 4


def test_the_base_of_a_wide_valley_shines_inside_it() -> None:
    rng = np.random.default_rng(1)
    inside = [ribbon for _ in range(5) for ribbon, _ in base_lines(rng, line(120))]
    light = drawn(inside)
    assert 0 < light[36:64].mean() < 0.5
    assert light[:31].max() == light[69:].max() == 0
    assert base_lines(rng, line(30)) == []
