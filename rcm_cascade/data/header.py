"""dataset.yaml: what a data set says about all its mosaics, checked key by key."""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.lengths import Length, parse_length
from rcm_cascade.errors import InputError

_EXPECTED: Final = {
    "name": "a text",
    "classes": "a list of {id, name, color}",
    "unlabelled": str(UNLABELLED),
    "pixel_size_um": "µm per pixel, a positive number",
    "working_pixel_size_um": "µm per pixel, a positive number, or native",
    "window": "a length such as '1 mm' or '512 px'",
    "stride": "a length such as '0.5 mm' or '256 px'",
    "patch": "a length such as '0.5 mm' or '256 px'",
    "synthetic": "true or false",
}
_UNKNOWN: Final = ("unexpected_keyword_argument", "invalid_key")  # what pydantic calls a key that is not known
_EXPECTED_OF_CLASS: Final = {"id": "a whole number", "name": "a text", "color": "'#rrggbb', in quotes"}


@dataclass(frozen=True)
class Header:
    """The content of dataset.yaml; the arguments are those of `rcm_cascade.data.manifest.Dataset`."""

    name: str
    classes: ClassTable
    pixel_size_um: float | None
    working_pixel_size_um: float | Literal["native"] | None
    window: Length | None
    stride: Length | None
    patch: Length | None
    synthetic: bool


_Micrometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(min_length=1)]


@checked_dataclass(config=ConfigDict(extra="forbid"))
class _WrittenClass:
    id: int
    name: _Text
    color: _Text


@checked_dataclass(config=ConfigDict(extra="forbid"))
class _Written:
    name: _Text
    classes: list[_WrittenClass]
    unlabelled: Literal[255] = 255
    pixel_size_um: _Micrometres | None = None
    working_pixel_size_um: _Micrometres | Literal["native"] | None = None
    window: int | str | None = None
    stride: int | str | None = None
    patch: int | str | None = None
    synthetic: bool = False


def read_header(path: Path) -> Header:
    """Reads dataset.yaml; nothing in it is executed.

    Raises:
        InputError: if it is missing, no YAML, has an unknown key (the message names the known ones), lacks a required
            one, or has a wrong value.
    """
    written = _check(path, _load(path))
    try:
        classes = ClassTable.from_plain([vars(row) for row in written.classes])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Header(
        name=written.name,
        classes=classes,
        pixel_size_um=written.pixel_size_um,
        working_pixel_size_um=written.working_pixel_size_um,
        window=_length(path, "window", written.window),
        stride=_length(path, "stride", written.stride),
        patch=_length(path, "patch", written.patch),
        synthetic=written.synthetic,
    )


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; a data set needs one with at least name and classes: see the README"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist, bad UTF-8
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        raise InputError(f"{path}{line} is no valid YAML; write one 'key: value' a line") from error


def _check(path: Path, content: object) -> _Written:
    known = ", ".join(_EXPECTED)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no keys; known are {known}: name and classes are required")
    try:
        return TypeAdapter(_Written).validate_python(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = next((e for e in errors if e["type"] in _UNKNOWN), errors[0])  # a misspelt key is also a missing one
    short = reprlib.Repr()
    short.maxlevel = 2  # YAML aliases can make a few lines print as gigabytes
    place, got = first["loc"], short.repr(first["input"])
    key, expected = str(place[0]), _EXPECTED.get(str(place[0]), "")
    if key == "classes" and len(place) > 2:
        known, key, expected = (
            ", ".join(_EXPECTED_OF_CLASS),
            f"classes[{place[1]}].{place[2]}",
            _EXPECTED_OF_CLASS.get(str(place[2]), ""),
        )
    if first["type"] in _UNKNOWN:
        raise InputError(f"{path} has the unknown key {key}; known are {known}")
    if first["type"] == "missing":
        raise InputError(f"{path} lacks {key}; expected {expected}")
    raise InputError(f"{path} has {key}: {got}; expected {expected}")


def _length(path: Path, key: str, text: int | str | None) -> Length | None:
    try:
        return None if text is None else parse_length(text)
    except InputError as error:
        raise InputError(f"{path}, {key}: {error}") from error
