"""A dataset folder on disk: dataset.yaml, manifest.csv, the files they name, and CSV files of mosaics in general."""

import csv
import io
import math
import os
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, cast, get_args

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from rcm_cascade.classes import UNLABELLED, ClassTable, LabelClass
from rcm_cascade.errors import InputError, reason
from rcm_cascade.files import write_text
from rcm_cascade.yaml_file import read_yaml

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: Final[tuple[SplitName, ...]] = get_args(SplitName)

COLUMNS: Final = ("mosaic", "label", "patient", "site", "split", "pixel_size_um")

DATASET_FILE: Final = "dataset.yaml"
MANIFEST_FILE: Final = "manifest.csv"

_LENGTH: Final = re.compile(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*(mm|um|px)\s*")
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


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
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


@dataclass(frozen=True)
class MosaicEntry:
    """One row of the manifest.

    Args:
        mosaic: as the manifest writes it; the name by which splits and reports know it.
        image: path of the mosaic.
        label: path of its label map; None: not labelled.
        patient: the ``mosaic`` string where the manifest gives none.
        patient_given: whether the manifest gives one.
        site: of acquisition or body, as the data set has it; may be empty.
        split: None where the manifest gives none.
        pixel_size_um: µm per pixel; None where the manifest gives none.
    """

    mosaic: str
    image: Path
    label: Path | None = None
    patient: str = ""
    patient_given: bool = False
    site: str = ""
    split: SplitName | None = None
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.mosaic)


@checked_dataclass(frozen=True, kw_only=True)
class Dataset(Header):
    """A dataset folder, read and checked; no image has been opened.

    Args:
        root: the folder.
        entries: the mosaics, in the manifest's order.
    """

    root: Path
    entries: tuple[MosaicEntry, ...]


def read_dataset(root: str | Path) -> Dataset:
    """Reads dataset.yaml and manifest.csv of a folder and checks that the files they name are there.

    Raises:
        InputError: if one of the two is missing or malformed (unknown keys and columns are named with the known ones),
            or a mosaic is named twice, does not exist, or lies outside the folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"data set {root} is no folder; give the folder that holds {DATASET_FILE} and {MANIFEST_FILE}")
    header = read_header(root / DATASET_FILE)
    return Dataset(root=root, entries=_read_manifest(root), **vars(header))


def read_header(path: Path) -> Header:
    """Reads dataset.yaml; nothing in it is executed.

    Raises:
        InputError: if it is missing, no YAML, has an unknown key (the message names the known ones) or one twice, lacks
            a required one, or has a wrong value.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); a data set needs one with at least name and classes: see the "
            "README"
        ) from error
    try:
        return TypeAdapter(Header).validate_python(content)
    except ValidationError as error:
        known = ", ".join(field.name for field in fields(Header))
        raise InputError(f"{path}: {reason(error)}; known keys are {known}; name and classes must be there") from error


def write_dataset(
    root: Path, *, classes: ClassTable, rows: Sequence[Mapping[str, str | float | None]], **header: object
) -> None:
    """Writes dataset.yaml and manifest.csv, each whole or not at all; the images are the caller's.

    Args:
        root: the folder, made where it is missing.
        classes: the class table.
        rows: of the manifest, by column name; what is missing or None is left empty.
        header: ``name`` and what else dataset.yaml says, as it is written there (``window="1 mm"``); None and False
            are left out.
    """
    content = {"unlabelled": UNLABELLED} | {key: value for key, value in header.items() if value not in (None, False)}
    content["classes"] = classes.to_plain()
    TypeAdapter(Header).validate_python(content)
    write_text(root / DATASET_FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    write_text(root / MANIFEST_FILE, csv_text(COLUMNS, [[row.get(column) for column in COLUMNS] for row in rows]))


def read_entry(root: Path, where: str, row: Mapping[str, str]) -> MosaicEntry:
    """A row of the manifest; the files that it names are there.

    Args:
        root: the folder.
        where: for messages.
        row: by column.

    Raises:
        InputError: if a file is not there or lies outside the folder, or the pixel size is none.
    """
    return MosaicEntry(
        mosaic=row["mosaic"],
        image=_inside(root, row["mosaic"], where),
        label=_inside(root, row["label"], where) if row["label"] else None,
        patient=row["patient"],
        patient_given=bool(row["patient"]),
        site=row["site"],
        split=cast(SplitName, row["split"]) or None,
        pixel_size_um=_read_pixel_size(row["pixel_size_um"], where),
    )


def _read_manifest(root: Path) -> tuple[MosaicEntry, ...]:
    path = root / MANIFEST_FILE
    entries = tuple(read_entry(root, where, row) for where, row in read_mosaic_rows(path, COLUMNS, ["mosaic"]))
    owners: dict[Path, str] = {}
    for entry in entries:
        other = entry.mosaic if entry.label is None else owners.setdefault(entry.label.resolve(), entry.mosaic)
        if other != entry.mosaic:
            raise InputError(
                f"{path} names the label map {entry.label} for {other} and for {entry.mosaic}; expected one a mosaic: "
                "correct the one that is wrong, or empty its label"
            )
    if not entries:
        raise InputError(f"{path} names no mosaic; expected one line a mosaic under the header {','.join(COLUMNS)}")
    return entries


def _inside(root: Path, text: str, where: str) -> Path:
    """A file of the data set, by the text of the manifest; links are followed, for large files often live elsewhere."""
    relative = PurePosixPath(text)
    if relative.is_absolute() or ".." in relative.parts or Path(text).is_absolute():
        raise InputError(f"{where} names {text}, outside the data set; expected a path below {root}, without '..'")
    # Macs and archives turn accents into other code points that look the same.
    for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
        if os.path.isfile(root / form):  # noqa: PTH113  # which says so of impossible names, too
            return root / form
    hint = "write / instead of \\" if "\\" in text else "correct the path or delete the line"
    raise InputError(f"{where} names {text}, and {root / relative} is no file; {hint}")


def _read_pixel_size(text: str, where: str) -> float | None:
    if not text:
        return None
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise InputError(f"{where} has the pixel size {text!r}; expected µm per pixel, a number such as 0.5, or nothing")


def read_mosaic_rows(
    path: Path, known: Sequence[str], required: Sequence[str], faults: list[str] | None = None
) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV file with a header, as ("FILE, line NUMBER,", {column: stripped text}); empty rows are left out.

    UTF-8, with or without byte-order mark. Every known column is there, empty where the file lacks it.

    Args:
        path: of the file.
        known: columns that it may have.
        required: columns that every row fills.
        faults: takes what is wrong with rows, which are then left out; None: that is raised.

    Raises:
        InputError: if the file is missing, no UTF-8, no CSV, lacks a required column, has an unknown or repeated one, a
            row without a required value, a mosaic twice, or another split than train, val, test.
    """
    expected = f"expected a CSV file (UTF-8) with the columns {', '.join(known)}, separated by commas"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fault = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read ({fault}); {expected}: check the path, or save it again") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else []
    if not set(required) <= set(header) <= set(known) or len(set(header)) != len(header):
        raise InputError(f"{path} has the header '{','.join(header)}'; {expected}, each once")
    rows = []
    seen: dict[PurePosixPath, int] = {}
    for number, cells in lines[1:]:
        where = f"{path}, line {number},"
        try:
            rows.append((where, _checked_row(where, number, cells, header, known, required, seen)))
        except InputError as error:
            if faults is None:
                raise
            faults.append(str(error))
    return rows


def _checked_row(
    where: str, number: int, cells: Sequence[str], header: Sequence[str], known: Sequence[str], required: Sequence[str],
    seen: dict[PurePosixPath, int],
) -> dict[str, str]:  # fmt: skip
    if len(cells) != len(header):
        raise InputError(
            f"{where} has {len(cells)} fields and the header {len(header)}; put quotes round fields with commas"
        )
    row = dict.fromkeys(known, "") | dict(zip(header, cells, strict=True))
    for column in required:
        if not row[column]:
            raise InputError(f"{where} names no {column}; fill the column or delete the line")
    if row["split"] not in ("", *SPLIT_NAMES):
        raise InputError(f"{where} has the split {row['split']!r}; expected {', '.join(SPLIT_NAMES)}")
    first = seen.setdefault(PurePosixPath(unicodedata.normalize("NFC", row["mosaic"])), number)
    if first != number:
        raise InputError(f"{where} names the mosaic {row['mosaic']} of line {first} again; delete one of the two")
    return row


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a header, lines ended by a line feed."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
