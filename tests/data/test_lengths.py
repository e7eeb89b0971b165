from typing import Any

import pytest

from rcm_cascade.data.lengths import Length, parse_length
from rcm_cascade.errors import InputError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1 mm", Length(1, "mm")),
        ("0.5mm", Length(0.5, "mm")),
        ("500 um", Length(500, "um")),
        ("500 \u00b5m", Length(500, "um")),
        ("500 \u03bcm", Length(500, "um")),
        (" .5 mm ", Length(0.5, "mm")),
        ("512 px", Length(512, "px")),
        (512, Length(512, "px")),
        (512.0, Length(512, "px")),
    ],
)
def test_what_users_write(text: str | float, length: Length) -> None:
    assert parse_length(text) == length
    assert parse_length(length) is length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "512",
        "mm",
        "-1 mm",
        "0 mm",
        "1 cm",
        "1,5 mm",
        "nan px",
        "inf mm",
        "12.5 px",
        0,
        -3,
        1.5,
        True,
        None,
        "9" * 400 + " mm",
    ],
)
def test_anything_else_is_one_sentence(text: Any) -> None:
    with pytest.raises(InputError, match="expected a positive number with its unit") as caught:
        parse_length(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "pixel_size_um", "multiple", "px"),
    [
        ("0.5 mm", 1.0, 16, 512),
        ("1 mm", 8.0, 16, 128),
        ("512 px", 1.0, 16, 512),
        ("512 px", None, 16, 512),
        ("500 px", None, 16, 512),
        ("512 um", 1.0, 16, 512),
        ("513 um", 1.0, 16, 528),
        ("0.5 mm", 1.0, 1, 500),
        ("0.5 mm", 0.13, 1, 3847),
        ("0.3 mm", 0.1, 1, 3000),  # 300 / 0.1 is 2999.9999999999995 in floating point, and 0.7 / 0.1 too large
        ("0.7 um", 0.1, 1, 7),
        ("2.1 um", 0.7, 1, 3),
        ("1 um", 5.0, 16, 16),
    ],
)
def test_pixels_are_rounded_up_to_the_multiple(text: str, pixel_size_um: float | None, multiple: int, px: int) -> None:
    assert parse_length(text).to_px(pixel_size_um, multiple) == px


def test_a_physical_length_needs_a_pixel_size() -> None:
    with pytest.raises(InputError, match=r"the length 0\.5 mm needs a pixel size"):
        parse_length("0.5 mm").to_px(None, 16)
