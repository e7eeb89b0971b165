"""What readers mark is kept as it was said, and harms no spreadsheet."""

from pathlib import Path
from typing import Any

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.review.marks import COLUMNS, read_marks, write_marks

ROW = {"region": 1, "class": "nested", "row": 5, "column": 7, "mark": "agree", "note": "", "time": "2026-11-28"}


def test_marks_come_back_as_they_were_written(tmp_path: Path) -> None:
    notes = ['dense, "sparse"\nlines', "=1+1", "-", "@x", "ünï ⚕", "'quoted", ""]
    rows = [{**ROW, "region": number, "note": note} for number, note in enumerate(notes)]
    write_marks(tmp_path / "a.marks.csv", rows)
    found = read_marks(tmp_path / "a.marks.csv")
    assert [row["note"] for row in found] == notes
    assert found[0] == {key: str(value) for key, value in rows[0].items()}
    assert read_marks(tmp_path / "none.csv") == []


def test_a_spreadsheet_computes_nothing(tmp_path: Path) -> None:
    write_marks(tmp_path / "a.csv", [{**ROW, "note": "=HYPERLINK(1)"}])
    assert ",'=HYPERLINK(1)," in (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize(
    "rows",
    [
        {}, "x", [1], [{}], [{**ROW, "mark": "maybe"}], [{**ROW, "note": "x" * 501}], [{**ROW, "note": ["x"]}],
        [ROW] * 1001, [{key: value for key, value in ROW.items() if key != "time"}],
    ],
)  # fmt: skip
def test_what_no_page_sends_is_refused_and_nothing_is_lost(rows: Any, tmp_path: Path) -> None:
    write_marks(tmp_path / "a.csv", [ROW])
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(InputError):
        write_marks(tmp_path / "a.csv", rows)
    assert (tmp_path / "a.csv").read_bytes() == before
    assert before.decode().startswith(",".join(COLUMNS))
