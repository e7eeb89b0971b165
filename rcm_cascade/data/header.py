"""dataset.yaml: what a data set says about all its mosaics, checked key by key; lengths as users write them."""

import dataclasses
import math
import re
import reprlib
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.errors import InputError, reason

_LENGTH: Final = re.compile(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*(mm|um|px)\s*")
_ROUNDING: Final = 1e-6
"""Part of a pixel by which a quotient may exceed a whole number and not be rounded up: 0.3 mm at 0.1 µm is 3000 px."""


@dataclasses.dataclass(frozen=True)
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
            pixels = self.value * (1000.0 if self.unit == "mm" else 1.0) / pixel_size_um
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
    if match := _LENGTH.fullmatch(re.sub("[\u00b5\u03bc]", "u", written)):
        length = Length(float(match[1]), match[2])  # type: ignore[arg-type]  # the pattern admits these units only
        if 0 < length.value < math.inf and (length.unit != "px" or length.value == int(length.value)):
            return length
    raise InputError(
        f"the length is {reprlib.repr(text)}; expected a positive number with its unit, such as '1 mm', '500 um' or "
        "'512 px' (px: a whole number)"
    )


def _table(classes: object) -> ClassTable:
    if isinstance(classes, ClassTable):
        return classes
    return ClassTable(TypeAdapter(tuple[LabelClass, ...]).validate_python(classes))


_Micrometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Length = Annotated[Length, BeforeValidator(parse_length)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Header:
    """The content of dataset.yaml.

    Args:
        name: what reports call the data set.
        classes: the class table.
        unlabelled: the grey value of unlabelled pixels.
        pixel_size_um: µm per pixel of mosaics that state none themselves.
        working_pixel_size_um: µm per pixel at which networks work; ``"native"``: each mosaic's own grid.
        window: side of a window.
        stride: distance of windows.
        patch: side of a patch.
        synthetic: phantoms; every output says so.
    """

    name: Annotated[str, Field(min_length=1)]
    classes: Annotated[ClassTable, BeforeValidator(_table)]
    unlabelled: Literal[255] = 255
    pixel_size_um: _Micrometres | None = None
    working_pixel_size_um: _Micrometres | Literal["native"] | None = None
    window: _Length | None = None
    stride: _Length | None = None
    patch: _Length | None = None
    synthetic: bool = False


def read_header(path: Path) -> Header:
    """Reads dataset.yaml; nothing in it is executed.

    Raises:
        InputError: if it is missing, no YAML, has an unknown key (the message names the known ones), lacks a required
            one, or has a wrong value.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); a data set needs one with at least name and classes: see the "
            "README"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist, bad UTF-8
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        raise InputError(f"{path}{line} is no valid YAML; write one 'key: value' a line") from error
    try:
        return TypeAdapter(Header).validate_python(content)
    except ValidationError as error:
        known = ", ".join(field.name for field in dataclasses.fields(Header))
        raise InputError(f"{path}: {reason(error)}; known keys are {known}; name and classes must be there") from error
