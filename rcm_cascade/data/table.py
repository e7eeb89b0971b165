"""CSV files as users write them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rcm_cascade.errors import InputError


def read_csv(path: Path, known: Sequence[str], required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, as (line number, {column: stripped text}); empty rows are left out.

    UTF-8, with or without byte-order mark. Every known column is there, empty where the file lacks it.

    Raises:
        InputError: if the file is missing, no UTF-8, no CSV, lacks a required column, or has an unknown or
            repeated one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); expected a CSV file with the columns {', '.join(known)}: check "
            "the path"
        ) from error
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({error}); save it as 'CSV UTF-8'") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = lines[0][1] if lines else []
    expected = f"expected the columns {', '.join(known)}, separated by commas"
    unknown = [column for column in header if column not in known]
    if unknown:
        raise InputError(f"{path} has the unknown column {unknown[0]!r}; {expected}")
    if len(set(header)) != len(header) or not set(required) <= set(header):
        raise InputError(f"{path} has the header '{','.join(header)}'; {expected}, each once")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}, has {len(cells)} fields and the header {len(header)}; put quotes round fields "
                "with commas"
            )
        rows.append((number, dict.fromkeys(known, "") | dict(zip(header, cells, strict=True))))
    return rows
