import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.pictures.figure import Panel, compose, scale_bar
from rcm_cascade.pictures.maps import colorize, grey_to_rgb
from tests.pictures.drawn import YELLOW, image_and_labels


@pytest.mark.parametrize(
    ("width", "pixel_size", "length", "label"),
    [
        (700, 4.0, 125, "500 µm"),
        (1000, 8.0, 250, "2 mm"),
        (1000, 4.0, 250, "1 mm"),
        (400, None, 100, "100 px"),
        (399, None, 50, "50 px"),
        (1, None, 1, "1 px"),
        (3, 0.1, 1, "0.1 µm"),
    ],
)
def test_scale_bar_is_the_longest_round_length_within_a_quarter(
    width: int, pixel_size: float | None, length: int, label: str
) -> None:
    assert scale_bar(width, pixel_size) == (length, label)


def figure(**options: object) -> NDArray[np.uint8]:
    image, labels = image_and_labels((300, 400))
    panels = [Panel("Image", grey_to_rgb(image)), Panel("Truth", colorize(labels, RCM_CLASSES))]
    settings: dict[str, object] = {"pixel_size_um": 2.0, **options}
    return np.asarray(compose(panels, RCM_CLASSES, **settings))  # type: ignore[arg-type]


def contains(figure: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    height, width = part.shape[:2]
    corner = part[:2, :3].reshape(-1)
    rows, columns = figure.shape[0] - height, figure.shape[1] - width
    windows = np.lib.stride_tricks.sliding_window_view(figure, (2, 3, 3))[: rows + 1, : columns + 1, 0]
    found = np.argwhere((windows.reshape(*windows.shape[:2], -1) == corner).all(axis=-1))
    return any(np.array_equal(figure[r : r + height, c : c + width], part) for r, c in found)


def test_figure_holds_each_panel_pixel_for_pixel_a_legend_and_a_bar_of_the_right_length() -> None:
    image, labels = image_and_labels((300, 400))
    drawn = figure()
    assert contains(drawn, grey_to_rgb(image))
    assert contains(drawn, colorize(labels, RCM_CLASSES))
    below = drawn[334:]
    for label in RCM_CLASSES.classes:
        assert (below == label.rgb).all(axis=-1).sum() > 50, label.name
    assert (below == YELLOW).all(axis=-1).sum() > 50
    assert not (figure(unlabelled=False)[334:] == YELLOW).all(axis=-1).any()
    ink = (below == 0x1A).all(axis=-1).sum(axis=1)
    assert ink.max() >= 100  # 200 µm of 2 µm pixels
    assert (figure(pixel_size_um=8.0)[334:] == 0x1A).all(axis=-1).sum(axis=1).max() < 100  # 500 µm are 62 px


def test_columns_make_a_grid_and_a_caption_makes_it_taller() -> None:
    row, grid = figure(), figure(columns=1)
    assert row.shape[1] > 800 > grid.shape[1] > 400
    assert grid.shape[0] > 600 > row.shape[0]
    captioned = figure(caption="A caption of many words. " * 20)
    assert captioned.shape[0] > row.shape[0] + 40
    assert captioned.shape[1] == row.shape[1]


def test_nothing_is_cut_off_however_small_the_panels_and_long_the_words() -> None:
    names = [f"class number {i} with a long name" for i in range(9)]
    classes = ClassTable(tuple(LabelClass(i, name, f"#0000{i + 16:02x}") for i, name in enumerate(names)))
    panel = Panel("a_title_that_does_not_break_" * 3, np.full((3, 5, 3), 200, np.uint8))
    drawn = np.asarray(compose([panel] * 2, classes, pixel_size_um=None, caption="x" * 300))
    border = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (border == 255).all()
    for label in classes.classes:
        assert (drawn == label.rgb).all(axis=-1).sum() > 50, label.name


def test_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        compose([], RCM_CLASSES, pixel_size_um=None)
