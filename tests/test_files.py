from pathlib import Path

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.files import printable, refuse_unwritable, written_whole


def test_the_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note.txt"
    with written_whole(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_looked_at_before_work_starts_and_not_made(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for out in ("file", "file/deeper"):
        with pytest.raises(InputError, match=r"file is a file; choose another folder with --out"):
            refuse_unwritable(tmp_path / out)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="link is a link to nothing"):
        refuse_unwritable(tmp_path / "link" / "deeper")


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "n" * 251 + ".csv"], ids=["long", "umlauts", "suffix"])
def test_a_name_may_be_as_long_as_names_can_be(name: str, tmp_path: Path) -> None:
    with written_whole(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert len(temporary.name) < 255
    assert (tmp_path / name).read_text() == "whole"


def test_temporary_files_of_one_name_are_several(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a") as one, written_whole(tmp_path / "a") as two:
        assert one != two
        for path in (one, two):
            path.write_text(str(path))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("m\udcff.tif", r"m\xff.tif"),
        ("a\nb.tif", r"a\nb.tif"),
        ("\x01\x9b\uffff.tif", r"\x01\x9b\uffff.tif"),
        ("Größe µ² 症例\u3000[1].tif", "Größe µ² 症例\u3000[1].tif"),
    ],
    ids=ascii,
)
def test_a_name_as_text(name: str, shown: str) -> None:
    assert printable(name) == shown
