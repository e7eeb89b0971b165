import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.pictures import comparison as pictures
from rcm_cascade.pictures.comparison import comparison


def has_color(picture: Image.Image, color: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == color).all(axis=-1).any())


def maps(shape: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    prediction = rng.integers(0, 6, shape).astype(np.uint8)
    truth = np.where(rng.random(shape) < 0.5, prediction, 255).astype(np.uint8)
    return image, truth, prediction


def test_comparison_shows_three_panels_of_at_most_the_longest_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PANEL_PX", 100)
    image, truth, prediction = maps((180, 250))
    whole = comparison(image, truth, prediction, RCM_CLASSES, 2.0, "mosaics/1.tif", "A sentence.")
    assert 3 * 84 < whole.width < 420
    assert whole.height < 250
    without = comparison(image, None, prediction, RCM_CLASSES, 2.0, "mosaics/1.tif")
    assert has_color(whole, (255, 225, 25))
    assert not has_color(without, (255, 225, 25))


def test_comparison_scales_its_bar_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(pictures, "compose", lambda *_, pixel_size_um, **__: sizes.append(pixel_size_um))
    comparison(*maps((1500, 900)), RCM_CLASSES, 0.5, "")
    comparison(*maps((1500, 900)), RCM_CLASSES, None, "")
    assert sizes == [1.5, None]
