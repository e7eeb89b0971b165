"""CSV files of mosaics, a row each, as users write them."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, get_args

from rcm_cascade.errors import InputError

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: Final[tuple[SplitName, ...]] = get_args(SplitName)


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
