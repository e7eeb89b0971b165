"""What a reader says of regions: ``STEM.marks.csv``, beside the page."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text

SUFFIX: Final = ".marks.csv"
COLUMNS: Final = ("region", "class", "row", "column", "mark", "note", "time")
MARKS: Final = ("agree", "disagree", "unsure", "")
LONGEST: Final = 500
MOST: Final = 1000


def read_marks(path: Path) -> list[dict[str, str]]:
    """The rows of a file of marks; none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [{key: _shown(row.get(key) or "") for key in COLUMNS} for row in csv.DictReader(file)]


def write_marks(path: Path, rows: object) -> None:
    """Writes rows that a page has sent, whole or not at all.

    Raises:
        InputError: if they are not what a page sends.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([[_safe(row[key]) for key in COLUMNS] for row in _checked(rows)])
    write_text(path, buffer.getvalue())


def _checked(rows: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(rows, list) or len(rows) > MOST:
        raise InputError(f"marks are a list of {MOST} rows at most; reload the page")
    for row in rows:
        if not isinstance(row, dict) or not set(COLUMNS) <= row.keys() or row["mark"] not in MARKS:
            raise InputError(f"a mark has {', '.join(COLUMNS)}, and is one of {', '.join(MARKS[:3])}; reload the page")
        if any(isinstance(row[key], dict | list) or len(str(row[key])) > LONGEST for key in COLUMNS):
            raise InputError(f"what is noted has {LONGEST} characters at most; shorten it")
    return rows


def _safe(value: object) -> str:
    """As a spreadsheet shows it: nothing that it would compute."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _shown(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@", "\t", "\r") else text
