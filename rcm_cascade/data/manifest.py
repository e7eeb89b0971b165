"""A dataset folder on disk: dataset.yaml, manifest.csv, and the files they name."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, cast

import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.header import Header, read_header
from rcm_cascade.data.table import SplitName as SplitName
from rcm_cascade.data.table import csv_text, read_mosaic_rows
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text

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
