import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.pictures.colours import blend, colorize, grey_to_rgb
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
    with pytest.raises(ValueError, match="one shape"):
        blend(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), RCM_CLASSES)
