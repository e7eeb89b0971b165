"""A dataset folder on disk: dataset.yaml, manifest.csv, the files they name, and CSV files of mosaics in general."""

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, cast, get_args

import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.header import Header, read_header
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: Final[tuple[SplitName, ...]] = get_args(SplitName)

COLUMNS: Final = ("mosaic", "label", "patient", "site", "split", "pixel_size_um")

DATASET_FILE: Final = "dataset.yaml"
MANIFEST_FILE: Final = "manifest.csv"


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


def _read_manifest(root: Path) -> tuple[MosaicEntry, ...]:
    path = root / MANIFEST_FILE
    entries = tuple(
        MosaicEntry(
            mosaic=row["mosaic"],
            image=_inside(root, row["mosaic"], where),
            label=_inside(root, row["label"], where) if row["label"] else None,
            patient=row["patient"],
            patient_given=bool(row["patient"]),
            site=row["site"],
            split=cast(SplitName, row["split"]) or None,
            pixel_size_um=_read_pixel_size(row["pixel_size_um"], where),
        )
        for where, row in read_mosaic_rows(path, COLUMNS, ["mosaic"])
    )
    if not entries:
        raise InputError(f"{path} names no mosaic; expected one line a mosaic under the header {','.join(COLUMNS)}")
    return entries


def _inside(root: Path, text: str, where: str) -> Path:
    """A file of the data set, by the text of the manifest; links are followed, for large files often live elsewhere."""
    relative = PurePosixPath(text)
    if relative.is_absolute() or ".." in relative.parts or Path(text).is_absolute():
        raise InputError(f"{where} names {text}, outside the data set; expected a path below {root}, without '..'")
    if not os.path.isfile(root / relative):  # noqa: PTH113  # which says so of impossible names, too
        hint = "write / instead of \\" if "\\" in text else "correct the path or delete the line"
        raise InputError(f"{where} names {text}, and {root / relative} is no file; {hint}")
    return root / relative


def _read_pixel_size(text: str, where: str) -> float | None:
    if not text:
        return None
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise InputError(f"{where} has the pixel size {text!r}; expected µm per pixel, a number such as 0.5, or nothing")


def read_mosaic_rows(path: Path, known: Sequence[str], required: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV file with a header, as ("FILE, line NUMBER,", {column: stripped text}); empty rows are left out.

    UTF-8, with or without byte-order mark. Every known column is there, empty where the file lacks it.

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
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read ({reason}); {expected}: check the path, or save it again") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else []
    if not set(required) <= set(header) <= set(known) or len(set(header)) != len(header):
        raise InputError(f"{path} has the header '{','.join(header)}'; {expected}, each once")
    rows = []
    seen: dict[PurePosixPath, int] = {}
    for number, cells in lines[1:]:
        where = f"{path}, line {number},"
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
        first = seen.setdefault(PurePosixPath(row["mosaic"]), number)
        if first != number:
            raise InputError(f"{where} names the mosaic {row['mosaic']} of line {first} again; delete one of the two")
        rows.append((where, row))
    return rows


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a header, lines ended by a line feed."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
