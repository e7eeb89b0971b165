import csv
from pathlib import Path

import pytest

from rcm_cascade.data.table import csv_text, read_mosaic_rows
from rcm_cascade.errors import InputError


def read(tmp_path: Path, content: bytes) -> list[tuple[str, dict[str, str]]]:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return read_mosaic_rows(path, ["mosaic", "split"], ["mosaic"])


@pytest.mark.parametrize(
    "content",
    [
        b"mosaic,split\nb\xc3\xa4r,val\n\n,,\nfox,\n",
        b"\xef\xbb\xbfmosaic,split\r\nb\xc3\xa4r, val\r\n\r\n,\r\nfox,\r\n",
    ],
)
def test_rows_with_their_lines(tmp_path: Path, content: bytes) -> None:
    rows = read(tmp_path, content)
    assert [row for _, row in rows] == [{"mosaic": "bär", "split": "val"}, {"mosaic": "fox", "split": ""}]
    assert [where for where, _ in rows] == [f"{tmp_path / 'table.csv'}, line {number}," for number in (2, 5)]


def test_columns_may_lack_and_change_places(tmp_path: Path) -> None:
    assert read(tmp_path, b'mosaic\n"fox, red"\n')[0][1] == {"mosaic": "fox, red", "split": ""}
    assert read(tmp_path, b"split,mosaic\nval,fox\n")[0][1] == {"mosaic": "fox", "split": "val"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"mosaic;split\nfox;val\n",
            r"header 'mosaic;split'; expected .* the columns mosaic, split, separated by comm",
        ),
        (b"mosaic,colour\nfox,1\n", "header 'mosaic,colour'"),
        (b"mosaic,mosaic\nfox,1\n", "header 'mosaic,mosaic'"),
        (b"split\nval\n", "header 'split'"),
        (b"", "header ''"),
        (b"mosaic,split\nfox,1,2\n", "line 2, has 3 fields and the header 2"),
        (b"mosaic,split\nb\xe4r,1\n", r"cannot be read \(.* byte 0xe4 .*; expected a CSV file \(UTF-8\)"),
        (b'mosaic,split\n"fox,1\n', r"cannot be read \(unexpected end of data\)"),
        (b"mosaic,split\n,val\n", "line 2, names no mosaic; fill the column or delete the line"),
        (b"mosaic,split\nfox,test\n./fox,val\n", r"line 3, names the mosaic \./fox of line 2 again"),
        (b"mosaic,split\nfox,training\n", "line 2, has the split 'training'; expected train, val, test"),
    ],
)
def test_malformed_tables_are_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_mosaic_rows(tmp_path / "none.csv", ["mosaic"], ["mosaic"])
    with pytest.raises(InputError, match="cannot be read"):
        read_mosaic_rows(tmp_path, ["mosaic"], ["mosaic"])


def test_what_is_written_is_csv() -> None:
    text = csv_text(["mosaic", "fold"], [["a, b", 1], ["ä", ""]])
    assert list(csv.reader(text.splitlines())) == [["mosaic", "fold"], ["a, b", "1"], ["ä", ""]]
    assert text.endswith("\n")
    assert "\r" not in text
