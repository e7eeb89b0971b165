import csv
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.manifest import Dataset, Length, csv_text, read_dataset, read_mosaic_rows, write_dataset
from rcm_cascade.errors import InputError


def make(root: Path, classes: ClassTable, manifest: str | bytes) -> Path:
    """A data set of empty files a.tif … d.tif; nothing is decoded here."""
    (root / "mosaics").mkdir(parents=True)
    (root / "labels").mkdir()
    for name in "abcd":
        (root / "mosaics" / f"{name}.tif").touch()
        (root / "labels" / f"{name}.png").touch()
    write_dataset(root, name="small", classes=classes, rows=[])
    (root / "manifest.csv").write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    return root


FULL = """mosaic,label,patient,site,split,pixel_size_um
mosaics/a.tif,labels/a.png,p1,arm,train,0.5
mosaics/b.tif,,,,,
mosaics/c.tif,labels/c.png,p1,,test,
"""


def test_rows(tmp_path: Path, classes: ClassTable) -> None:
    root = make(tmp_path / "set", classes, FULL)
    dataset = read_dataset(str(root))
    assert (dataset.root, dataset.name, dataset.classes) == (root, "small", classes)
    a, b, c = dataset.entries
    assert (a.mosaic, a.image, a.label) == ("mosaics/a.tif", root / "mosaics/a.tif", root / "labels/a.png")
    assert (a.patient, a.patient_given, a.site, a.split, a.pixel_size_um) == ("p1", True, "arm", "train", 0.5)
    assert (b.label, b.patient, b.patient_given, b.site, b.split) == (None, "mosaics/b.tif", False, "", None)
    assert b.pixel_size_um is None
    assert c.split == "test"


@pytest.mark.parametrize("name", ["Größe", "Ä/é", "\u1e9b\u0323 한"])
@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_the_other_unicode_form(
    name: str, written: Literal["NFC", "NFD"], stored: Literal["NFC", "NFD"], tmp_path: Path, classes: ClassTable
) -> None:
    root = make(tmp_path / "set", classes, f"mosaic\n{normalize(written, name)}.tif\n".encode())
    file = root / f"{normalize(stored, name)}.tif"
    file.parent.mkdir(exist_ok=True)
    file.touch()
    (entry,) = read_dataset(root).entries
    assert (entry.mosaic, entry.image) == (f"{normalize(written, name)}.tif", file)


def test_one_name_in_two_unicode_forms_is_the_mosaic_twice(tmp_path: Path, classes: ClassTable) -> None:
    rows = "mosaic\n" + "".join(f"{normalize(form, 'Größe')}.tif\n" for form in ("NFC", "NFD"))
    root = make(tmp_path / "set", classes, rows)
    (root / "Größe.tif").touch()
    with pytest.raises(InputError, match=r"line 3, names the mosaic .* of line 2 again"):
        read_dataset(root)


def test_only_the_mosaic_is_required(tmp_path: Path, classes: ClassTable) -> None:
    dataset = read_dataset(make(tmp_path / "set", classes, b"\xef\xbb\xbfmosaic\r\nmosaics/a.tif\r\n"))
    assert [entry.mosaic for entry in dataset.entries] == ["mosaics/a.tif"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("mosaics/a.tif,,,,,\n./mosaics/a.tif,,,,,", r"line 3, names the mosaic \./mosaics/a\.tif of line 2 again"),
        ("mosaics/x.tif,,,,,", r"line 2, names mosaics/x\.tif, and .* is no file"),
        ("mosaics,,,,,", "is no file"),
        (f"{'x' * 300}.tif,,,,,", "is no file"),
        ("mosaics\\a.tif,,,,,", r"write / instead of \\"),
        ("mosaics/a.tif,labels/x.png,,,,", r"names labels/x\.png, and .* is no file"),
        ("../set/mosaics/a.tif,,,,,", "outside the data set"),
        ("/etc/hostname,,,,,", "outside the data set"),
        ("mosaics/a.tif,/etc/hostname,,,,", "outside the data set"),
        ("mosaics/../../x.tif,,,,,", "outside the data set"),
        (",labels/a.png,,,,", "line 2, names no mosaic"),
        ("mosaics/a.tif,,,,Train,", "split 'Train'; expected train, val, test"),
        ("mosaics/a.tif,,,,,-1", "pixel size '-1'; expected µm per pixel"),
        ("mosaics/a.tif,,,,,nan", "pixel size 'nan'"),
        ('mosaics/a.tif,,,,,"0,5"', "pixel size '0,5'"),
        ("mosaics/a.tif,labels/a.png,,,,\nmosaics/b.tif,./labels/a.png,,,,", "for mosaics/a.tif and for mosaics/b.tif"),
        ("", "names no mosaic"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, classes: ClassTable, rows: str, message: str) -> None:
    root = make(tmp_path / "set", classes, f"mosaic,label,patient,site,split,pixel_size_um\n{rows}\n")
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(root)
    assert "manifest.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_columns_are_named_with_the_known_ones(tmp_path: Path, classes: ClassTable) -> None:
    root = make(tmp_path / "set", classes, "mosaic,diagnosis\nmosaics/a.tif,nevus\n")
    with pytest.raises(
        InputError,
        match=r"header 'mosaic,diagnosis'; expected .* the columns mosaic, label, patient, site, split, pixel_",
    ):
        read_dataset(root)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read_dataset(tmp_path / "none")
    with pytest.raises(InputError, match=r"dataset\.yaml cannot be read \(No such file"):
        read_dataset(tmp_path)


def test_written_and_read(tmp_path: Path, classes: ClassTable) -> None:
    root = make(tmp_path / "set", classes, "")
    write_dataset(
        root,
        name="phantom: no. 1",
        classes=classes,
        rows=[
            {"mosaic": "mosaics/a.tif", "label": "labels/a.png", "patient": "ä, b", "pixel_size_um": 0.1 + 0.2},
            {"mosaic": "mosaics/b.tif", "label": None, "split": "val"},
        ],
        pixel_size_um=0.5,
        working_pixel_size_um="native",
        window="1 mm",
        patch="512 px",
        synthetic=True,
    )
    dataset = read_dataset(root)
    assert dataset == Dataset(
        root=root,
        name="phantom: no. 1",
        classes=classes,
        entries=dataset.entries,
        pixel_size_um=0.5,
        working_pixel_size_um="native",
        window=Length(1, "mm"),
        patch=Length(512, "px"),
        synthetic=True,
    )
    a, b = dataset.entries
    assert (a.patient, a.pixel_size_um, b.label, b.split) == ("ä, b", 0.1 + 0.2, None, "val")
    assert sorted(path.name for path in root.iterdir()) == ["dataset.yaml", "labels", "manifest.csv", "mosaics"]


@pytest.mark.slow
def test_the_real_data_sets(real_data: Path) -> None:
    axon, aerial = (read_dataset(real_data / name) for name in ("axon-sem", "aerial"))
    assert (len(axon.entries), axon.working_pixel_size_um, axon.window) == (10, 0.13, Length(512, "px"))
    assert len({entry.patient for entry in axon.entries}) == 8
    assert (len(aerial.entries), aerial.working_pixel_size_um, len(aerial.classes)) == (5, "native", 5)
    assert all(entry.label is not None for entry in axon.entries + aerial.entries)


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
