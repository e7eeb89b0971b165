import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade import pictures
from rcm_cascade.labels import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.pictures import (
    Panel,
    blend,
    colorize,
    compose,
    grey_to_rgb,
    png_data_uri,
    save_png,
    scale_bar,
    shrink_factor,
    shrink_image,
    shrink_labels,
)

YELLOW = (255, 225, 25)


def image_and_labels(shape: tuple[int, int] = (37, 53)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    labels = rng.choice(np.array([0, 1, 2, 5, 255], np.uint8), shape)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    assert image.std() > 50
    assert len(np.unique(labels)) == 5
    return image, labels


def test_colours_are_those_of_the_table_and_unlabelled_is_yellow() -> None:
    rgb = colorize(np.array([[0, 5, 255]], np.uint8), RCM_CLASSES)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb[0], [RCM_CLASSES.classes[0].rgb, RCM_CLASSES.classes[5].rgb, YELLOW])


def test_grey_has_three_equal_channels() -> None:
    image, _ = image_and_labels()
    rgb = grey_to_rgb(image)
    assert rgb.shape == (37, 53, 3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[:, :, channel], image)


def test_blend_mixes_by_opacity_and_leaves_unlabelled_pixels_grey() -> None:
    image, labels = image_and_labels()
    mixed = blend(image, labels, RCM_CLASSES, opacity=0.25)
    expected = np.rint(0.75 * image[:, :, None] + 0.25 * colorize(labels, RCM_CLASSES))
    expected[labels == 255] = image[labels == 255][:, None]
    np.testing.assert_array_equal(mixed, expected)


def test_blend_refuses_two_grids() -> None:
    with pytest.raises(ValueError, match="one shape"):
        blend(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), RCM_CLASSES)


@pytest.mark.parametrize(
    ("shape", "longest", "factor"), [((700, 300), 700, 1), ((701, 300), 700, 2), ((1, 2101), 700, 4), ((5, 5), 99, 1)]
)
def test_factor_is_the_smallest_that_fits(shape: tuple[int, int], longest: int, factor: int) -> None:
    assert shrink_factor(shape, longest) == factor
    assert max(-(-side // factor) for side in shape) <= longest


def test_factor_refuses_nothing_to_fit_into() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        shrink_factor((3, 3), 0)


@pytest.mark.parametrize("factor", [1, 2, 5, 60])
@pytest.mark.parametrize("strip", [1, 2**22])
def test_shrinking_is_the_average_and_the_majority_of_each_block(
    factor: int, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "STRIP_PIXELS", strip)
    image, labels = image_and_labels()
    labels[:10, :10] = 255
    small, votes = shrink_image(image, factor), shrink_labels(labels, factor)
    assert small.shape == votes.shape == (-(-37 // factor), -(-53 // factor))
    for row, column in np.ndindex(small.shape):
        block = (slice(row * factor, (row + 1) * factor), slice(column * factor, (column + 1) * factor))
        assert small[row, column] == np.rint(image[block].mean())
        counts = np.bincount(labels[block].reshape(-1), minlength=256)[:255]
        assert votes[row, column] == (counts.argmax() if counts.any() else 255)
    assert votes[0, 0] == (255 if factor <= 10 else votes[0, 0])


def test_a_tie_goes_to_the_lowest_id_and_one_label_outvotes_any_number_of_unlabelled_pixels() -> None:
    labels = np.array([[4, 2, 255, 255], [2, 4, 255, 3]], np.uint8)
    np.testing.assert_array_equal(shrink_labels(labels, 2), [[2, 3]])


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
    with pytest.raises(ValueError, match="at least one"):
        compose([], RCM_CLASSES, pixel_size_um=None)


def test_png_comes_back_as_it_went_and_leaves_nothing_else(tmp_path: Path) -> None:
    image, labels = image_and_labels()
    rgb = colorize(labels, RCM_CLASSES)
    save_png(image, tmp_path / "grey.png")
    save_png(Image.fromarray(rgb), tmp_path / "grey.png")
    assert [p.name for p in tmp_path.iterdir()] == ["grey.png"]
    with Image.open(tmp_path / "grey.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), rgb)
    prefix, data = png_data_uri(image).split(",")
    assert prefix == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = image_and_labels()
    save_png(image, tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_png(255 - image, tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), image)
