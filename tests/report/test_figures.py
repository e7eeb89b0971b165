import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.report import figures
from rcm_cascade.report.figures import (
    comparison,
    confusion_picture,
    gradient_curves,
    loss_curves,
    sensitivity_curves,
)


def has_color(picture: Image.Image, color: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture) == color).all(axis=-1).any())


def maps(shape: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    prediction = rng.integers(0, 6, shape).astype(np.uint8)
    truth = np.where(rng.random(shape) < 0.5, prediction, 255).astype(np.uint8)
    return image, truth, prediction


def test_comparison_shows_three_panels_of_at_most_the_longest_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PANEL_PX", 100)
    image, truth, prediction = maps((180, 250))
    whole = comparison(image, truth, prediction, RCM_CLASSES, 2.0, "mosaics/1.tif", "A sentence.")
    assert 3 * 84 < whole.width < 420
    assert whole.height < 250
    without = comparison(image, None, prediction, RCM_CLASSES, 2.0, "mosaics/1.tif")
    assert has_color(whole, (255, 225, 25))
    assert not has_color(without, (255, 225, 25))


def test_comparison_scales_its_bar_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr(figures, "compose", lambda *_, pixel_size_um, **__: sizes.append(pixel_size_um))
    comparison(*maps((1500, 900)), RCM_CLASSES, 0.5, "")
    comparison(*maps((1500, 900)), RCM_CLASSES, None, "")
    assert sizes == [1.5, None]


def test_comparison_refuses_two_grids() -> None:
    image, truth, prediction = maps((20, 30))
    with pytest.raises(ValueError, match="prediction is"):
        comparison(image, truth, prediction[:-1], RCM_CLASSES, None, "")
    with pytest.raises(ValueError, match="truth is"):
        comparison(image, truth[:-1], prediction, RCM_CLASSES, None, "")


def test_confusion_is_dark_where_the_share_is_high_and_blank_where_it_is_undefined() -> None:
    classes = ClassTable(tuple(LabelClass(i, name, "#101010") for i, name in enumerate("abc")))
    matrix = np.array([[1_000_000, 0, 0], [30, 10, 0], [0, 0, 0]])
    picture = np.asarray(confusion_picture(matrix, classes)).astype(int)
    darkest, palest = np.array([8, 48, 107]), np.array([247, 251, 255])  # the ends of "Blues"
    dark = np.argwhere(np.abs(picture - darkest).max(axis=-1) < 3)
    pale = np.abs(picture - palest).max(axis=-1) < 3
    top, left = dark.min(axis=0)
    side = dark.max(axis=0)[0] - top + 1
    assert 40 < side < 130
    last_row = picture[top + 2 * side + 8 : top + 3 * side, left + 4 : left + 3 * side]
    assert pale[top + 2 * side + 8 : top + 3 * side, left + 4 : left + 3 * side].mean() > 0.9
    assert last_row.min() > 200  # no number in it
    assert picture[top + side + 8 : top + 2 * side, left + 4 : left + side].min() < 60  # .75, in letters


HISTORY: list[dict[str, float | str | None]] = [
    {"step": 0, "train/loss": 3.0, "train/loss_level1": "3.5", "train/loss_level2": 2.5, "train/grad_norm_level1": 2},
    {"step": 10, "train/loss": 2.0, "train/loss_level1": 2.5, "train/loss_level2": 1.5, "train/grad_norm_level1": 1},
    {
        "step": 10,
        "val/mean_sensitivity": 0.4,
        "val/sensitivity_nested": 0.9,
        "val/sensitivity_ring": "",
        "train/loss": None,
    },
    {"step": 20, "val/mean_sensitivity": 0.5, "val/sensitivity_nested": 0.8, "val/sensitivity_ring": "nan"},
]


def svg(source: str | None) -> str:
    assert source is not None
    text = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
    ET.parse(io.StringIO(text))
    return text


def test_curves_are_drawn_for_what_the_history_holds() -> None:
    loss, gradient, sensitivity = (
        svg(source)
        for source in (loss_curves(HISTORY), gradient_curves(HISTORY), sensitivity_curves(HISTORY, RCM_CLASSES))
    )
    for name in ("total", "level 1 (coarsest)", "level 2 (finest)", "training step"):
        assert f"<!-- {name} -->" in loss  # matplotlib draws letters as outlines and names them in a comment
    assert "<!-- level 1 -->" in gradient
    assert "total" not in gradient
    for name in ("nested", "ring", "mean"):
        assert f"<!-- {name} -->" in sensitivity
    assert "#e6194b" in sensitivity


def test_no_value_no_curve_and_epochs_where_there_are_no_steps() -> None:
    empty: list[dict[str, float | str | None]] = [{"step": 1, "val/mean_sensitivity": "", "train/loss": "nan"}]
    assert loss_curves(empty) is gradient_curves(empty) is sensitivity_curves(empty, RCM_CLASSES) is None
    assert loss_curves([]) is None
    assert "<!-- epoch -->" in svg(loss_curves([{"epoch": 0, "train/loss": 1.0}, {"epoch": 1, "train/loss": 0.5}]))


def test_many_values_are_smoothed_and_a_zero_gradient_is_drawn_linearly() -> None:
    rng = np.random.default_rng(0)
    long: list[dict[str, float | str | None]] = [{"step": i, "train/loss": rng.random()} for i in range(300)]
    assert svg(loss_curves(long)).count("opacity: 0.18") == 1
    assert "opacity: 0.18" not in svg(loss_curves(long[:50]))
    zero: list[dict[str, float | str | None]] = [{"step": i, "train/grad_norm_level1": float(i)} for i in range(5)]
    svg(gradient_curves(zero))


def test_the_same_history_gives_the_same_bytes() -> None:
    assert loss_curves(HISTORY) == loss_curves(HISTORY)
