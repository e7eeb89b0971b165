import numpy as np

from rcm_cascade.phantom.sheets import dermis, epidermis
from rcm_cascade.phantom.window import Window
from tests.phantom.looking import GRID, bench, skewness, texture

PATTERNLESS = 5


def test_patternless_tissue_has_sparse_bright_cells() -> None:
    drawn = texture(PATTERNLESS)
    assert skewness(drawn) > 1
    assert 0.001 < (drawn > 2.5 * np.median(drawn)).mean() < 0.02


def test_a_tilted_section_shows_cells_above_and_fibres_below() -> None:
    window = Window.whole(GRID)
    above, below = epidermis(bench())(window), dermis(bench())(window)
    assert skewness(below.astype(float)) > 0.3
    # cells of 18 µm vary from pixel to pixel of 4 µm, fibres run on
    rough = [np.abs(np.diff(view, axis=1)).mean() / view.std() for view in (above, below)]
    assert rough[0] > 1.2 * rough[1]
