import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.pictures.maps import blend, colorize, grey_to_rgb, shrink_factor, shrink_image, shrink_labels
from tests.pictures.drawn import YELLOW, image_and_labels


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
    with pytest.raises(IndexError, match="shape"):
        blend(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), RCM_CLASSES)


@pytest.mark.parametrize(
    ("shape", "longest", "factor"), [((700, 300), 700, 1), ((701, 300), 700, 2), ((1, 2101), 700, 4), ((5, 5), 99, 1)]
)
def test_factor_is_the_smallest_that_fits(shape: tuple[int, int], longest: int, factor: int) -> None:
    assert shrink_factor(shape, longest) == factor
    assert max(-(-side // factor) for side in shape) <= longest


@pytest.mark.parametrize("factor", [1, 2, 5, 30])
def test_shrinking_is_the_average_and_the_majority_of_each_block(factor: int) -> None:
    image, labels = (np.tile(array, (2, 2))[:60, :90] for array in image_and_labels())
    labels[:10, :10] = 255
    small, votes = shrink_image(image, factor), shrink_labels(labels, factor)
    assert small.shape == votes.shape == (60 // factor, 90 // factor)
    for row, column in np.ndindex(small.shape):
        block = (slice(row * factor, (row + 1) * factor), slice(column * factor, (column + 1) * factor))
        assert abs(small[row, column] - image[block].mean()) <= 0.5
        seen = labels[block].reshape(-1)[labels[block].reshape(-1) != 255].tolist()
        assert votes[row, column] == max(seen, key=seen.count, default=255)  # max: the first of equals
    assert votes[0, 0] == (255 if factor <= 10 else votes[0, 0])


@pytest.mark.parametrize("factor", [2, 5, 60])
def test_sides_that_are_no_multiples_shrink_to_the_next_larger_size(factor: int) -> None:
    image, labels = image_and_labels()
    small, votes = shrink_image(image, factor), shrink_labels(labels, factor)
    assert small.shape == votes.shape == (-(-37 // factor), -(-53 // factor))
    assert small.mean() == pytest.approx(image.mean(), abs=1)
    assert set(np.unique(votes)) <= set(np.unique(labels))


def test_a_tie_goes_to_the_first_seen_and_one_label_outvotes_any_number_of_unlabelled_pixels() -> None:
    labels = np.array([[4, 2, 255, 255], [2, 4, 255, 3]], np.uint8)
    np.testing.assert_array_equal(shrink_labels(labels, 2), [[4, 3]])


@pytest.mark.parametrize("factor", [16, 257])
def test_sums_do_not_overflow(factor: int) -> None:
    full = np.full((factor, factor), 255, np.uint8)
    assert shrink_image(full, factor) == 255
    full[0] = 3
    full[1:] = 2
    assert shrink_labels(full, factor) == 2


def test_without_any_label_all_is_unlabelled() -> None:
    np.testing.assert_array_equal(shrink_labels(np.full((5, 3), 255, np.uint8), 2), np.full((3, 2), 255))
