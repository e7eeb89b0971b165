from pathlib import Path

import pytest

from rcm_cascade.data.table import read_csv
from rcm_cascade.errors import InputError


def read(tmp_path: Path, content: bytes) -> list[tuple[int, dict[str, str]]]:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return read_csv(path, ["name", "size"], ["name"])


@pytest.mark.parametrize(
    "content",
    [
        b"name,size\nb\xc3\xa4r,1\n\n,,\nfox,\n",
        b"\xef\xbb\xbfname,size\r\nb\xc3\xa4r, 1\r\n\r\n,\r\nfox,\r\n",
    ],
)
def test_rows_with_their_lines(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == [(2, {"name": "bär", "size": "1"}), (5, {"name": "fox", "size": ""})]


def test_columns_may_lack_and_change_places(tmp_path: Path) -> None:
    assert read(tmp_path, b'name\n"fox, red"\n') == [(2, {"name": "fox, red", "size": ""})]
    assert read(tmp_path, b"size,name\n1,fox\n") == [(2, {"name": "fox", "size": "1"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name;size\nfox;1\n", "unknown column 'name;size'; expected the columns name, size, separated by commas"),
        (b"name,colour\nfox,1\n", "unknown column 'colour'"),
        (b"name,name\nfox,1\n", "header 'name,name'"),
        (b"size\n1\n", "header 'size'"),
        (b"", "header ''"),
        (b"name,size\nfox,1,2\n", "line 2, has 3 fields and the header 2"),
        (b"name,size\nb\xe4r,1\n", "is no UTF-8 text"),
        (b'name,size\n"fox,1\n', "is no CSV"),
    ],
)
def test_malformed_tables_are_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "table.csv" in str(caught.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_csv(tmp_path / "none.csv", ["name"], ["name"])
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path, ["name"], ["name"])
