"""Lengths as users write them ("1 mm", "500 um", "512 px"), and in pixels."""

import math
import re
import reprlib
from dataclasses import dataclass
from typing import Final, Literal

from rcm_cascade.errors import InputError

UM_PER_UNIT: Final = {"mm": 1000.0, "um": 1.0}

_PATTERN: Final = re.compile(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*(mm|um|px)\s*")
_ROUNDING: Final = 1e-6
"""Part of a pixel by which a quotient may exceed a whole number and not be rounded up: 0.3 mm at 0.1 µm is 3000 px."""


@dataclass(frozen=True)
class Length:
    """A positive length; in px a whole number."""

    value: float
    unit: Literal["mm", "um", "px"]

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    def to_px(self, pixel_size_um: float | None, multiple: int = 1) -> int:
        """Pixels, rounded up to a multiple.

        Args:
            pixel_size_um: µm per pixel; not needed for a length in px.
            multiple: of which the result is one, in px.

        Returns:
            At least ``multiple``; 0.5 mm at 1 µm and a multiple of 16 is 512 px.

        Raises:
            InputError: if the length is in mm or µm and the pixel size is not known.
        """
        if self.unit == "px":
            pixels = self.value
        elif pixel_size_um is None:
            raise InputError(
                f"the length {self} needs a pixel size and none is known; write it in px, such as '512 px', or add "
                "pixel_size_um to dataset.yaml or manifest.csv"
            )
        else:
            pixels = self.value * UM_PER_UNIT[self.unit] / pixel_size_um
        return max(math.ceil((pixels - _ROUNDING) / multiple), 1) * multiple


def parse_length(text: str | float | Length) -> Length:
    """Reads ``"1 mm"``, ``"500 um"``, ``"500 µm"``, ``"512 px"``, or a bare number of pixels.

    Raises:
        InputError: for anything else, a length that is not positive, or a fraction of a pixel.
    """
    if isinstance(text, Length):
        return text
    written = f"{text} px" if type(text) in (int, float) else str(text)
    # two code points look like the micro: the sign (U+00B5) and the Greek letter (U+03BC)
    if match := _PATTERN.fullmatch(re.sub("[\u00b5\u03bc]", "u", written)):
        length = Length(float(match[1]), match[2])  # type: ignore[arg-type]  # the pattern admits these units only
        if 0 < length.value < math.inf and (length.unit != "px" or length.value == int(length.value)):
            return length
    raise InputError(
        f"the length is {reprlib.repr(text)}; expected a positive number with its unit, such as '1 mm', '500 um' or "
        "'512 px' (px: a whole number)"
    )
