import numpy as np
from scipy.ndimage import gaussian_filter

from tests.phantom.looking import recipe, texture

NESTED = 4


def test_clods_differ_from_each_other_more_than_they_vary_inside() -> None:
    # 100 to 300 µm: most 5x5 blocks of 8 µm lie inside one
    large = texture(NESTED, one=recipe(clod_size=1.0))
    blocks = np.log(large).reshape(60, 5, 60, 5).swapaxes(1, 2).reshape(3600, 25)
    assert blocks.mean(axis=1).std() > 1.3 * np.median(blocks.std(axis=1))


def test_the_recipe_says_how_large_the_clods_are() -> None:
    def fine(clod_size: float) -> float:
        drawn = texture(NESTED, one=recipe(clod_size=clod_size))
        return float((drawn - gaussian_filter(drawn, 5)).var() / drawn.var())

    assert fine(0.0) > 1.3 * fine(1.0)


def test_the_gaps_are_dark_and_thin() -> None:
    drawn = texture(NESTED)
    assert 0.03 < (drawn < 0.35 * np.median(drawn)).mean() < 0.35
