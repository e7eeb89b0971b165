"""Defects planted into a clean data set, one copy each: each is found, and nothing else."""

import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, UNLABELLED
from rcm_cascade.data.check import check_dataset, landmarks
from rcm_cascade.data.manifest import COLUMNS, write_dataset
from rcm_cascade.errors import InputError

SIDE = 160
WHITE = np.uint8(255)
SPLITS = ("train", "train", "train", "val", "test", "test")


def tissue(seed: int) -> NDArray[np.uint8]:
    """Grain on a black ground."""
    draw = np.random.default_rng(seed)
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[4:-4, 4:-4] = draw.integers(20, 230, (SIDE - 8, SIDE - 8))
    return image


def bands(seed: int) -> NDArray[np.uint8]:
    labels = np.full((SIDE, SIDE), UNLABELLED, np.uint8)
    for id_ in range(6):
        labels[8 + 24 * id_ : 28 + 24 * id_, 10 : 120 + seed] = id_
    return labels


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean") / "set"
    (root / "mosaics").mkdir(parents=True)
    (root / "labels").mkdir()
    rows: list[dict[str, str | float | None]] = []
    for index, split in enumerate(SPLITS):
        Image.fromarray(tissue(index)).save(root / "mosaics" / f"m{index}.png")
        Image.fromarray(bands(index)).save(root / "labels" / f"m{index}.png")
        rows.append(
            {
                "mosaic": f"mosaics/m{index}.png", "label": f"labels/m{index}.png", "patient": f"p{index}",
                "site": "back", "split": split, "pixel_size_um": 0.5,
            }
        )  # fmt: skip
    write_dataset(root, classes=RCM_CLASSES, rows=rows, name="clean")
    return root


def manifest(root: Path, change: Callable[[list[dict[str, str]]], object]) -> None:
    path = root / "manifest.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def rows_of(root: Path, numbers: Iterable[int], **values: str) -> None:
    manifest(root, lambda rows: [rows[number].update(values) for number in numbers])


def append(path: Path, more: bytes) -> None:
    path.write_bytes(path.read_bytes() + more)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def put(root: Path, name: str, array: NDArray[np.uint8]) -> None:
    Image.fromarray(array).save(root / name)


def relabel(root: Path, change: Callable[[NDArray[np.uint8]], object], *numbers: int) -> None:
    for number in numbers:
        labels = bands(number)
        change(labels)
        put(root, f"labels/m{number}.png", labels)


def set_to(labels: NDArray[np.uint8], where: object, value: int) -> None:
    labels[where] = value  # type: ignore[call-overload]


def crop(root: Path, of: int, into: int) -> None:
    image = tissue(into)
    image[30:130, 20:140] = tissue(of)[31:131, 13:133]
    put(root, f"mosaics/m{into}.png", image)


PLANTED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no dataset.yaml": ("dataset.yaml", lambda r: (r / "dataset.yaml").unlink()),
    "unknown key": ("dataset.yaml", lambda r: append(r / "dataset.yaml", b"colour: red\n")),
    "no manifest": ("manifest.csv", lambda r: (r / "manifest.csv").unlink()),
    "mosaic twice": ("manifest.csv", lambda r: manifest(r, lambda rows: rows.append(rows[1]))),
    "strange split": ("manifest.csv", lambda r: rows_of(r, [1], split="training")),
    "outside": ("missing or unusable entry", lambda r: rows_of(r, [1], label="../x.png")),
    "no mosaic": ("missing or unusable entry", lambda r: (r / "mosaics/m1.png").unlink()),
    "no label": ("missing or unusable entry", lambda r: (r / "labels/m1.png").unlink()),
    "no number": ("missing or unusable entry", lambda r: rows_of(r, [1], pixel_size_um="0,5")),
    "empty file": ("unreadable mosaic", lambda r: (r / "mosaics/m1.png").write_bytes(b"")),
    "cut off": ("unreadable mosaic", lambda r: cut(r / "mosaics/m1.png", 9000)),
    "no image": ("unreadable mosaic", lambda r: (r / "mosaics/m1.png").write_text("mosaic")),
    "other size": ("unusable label map", lambda r: put(r, "labels/m1.png", bands(1)[:-1])),
    "strange id": ("unusable label map", lambda r: relabel(r, lambda a: set_to(a, (3, 4), 6), 1)),
    "coloured": ("unusable label map", lambda r: put(r, "labels/m1.png", RCM_CLASSES.palette()[bands(1)])),
    "cut label": ("unusable label map", lambda r: cut(r / "labels/m1.png", 90)),
    "nothing labelled": ("nothing labelled", lambda r: relabel(r, lambda a: set_to(a, slice(None), 255), 1)),
    "one label of two": ("one label map of two", lambda r: rows_of(r, [1], label="labels/m0.png")),
    "copied label": ("equal label maps", lambda r: put(r, "labels/m1.png", bands(2))),
    "duplicate": ("duplicate mosaics", lambda r: shutil.copy(r / "mosaics/m0.png", r / "mosaics/m1.png")),
    "leak": ("duplicate mosaics", lambda r: shutil.copy(r / "mosaics/m0.png", r / "mosaics/m4.png")),
    "overlap": ("overlapping mosaics", lambda r: crop(r, 0, 1)),
    "straddling": ("patient in two splits", lambda r: rows_of(r, [0], patient="p4")),
    "in mm": ("strange pixel size", lambda r: rows_of(r, range(6), pixel_size_um="0.0005")),
    "mixed": ("mixed pixel sizes", lambda r: rows_of(r, [2], pixel_size_um="5")),
    "unknown size": ("pixel size unknown", lambda r: rows_of(r, [2], pixel_size_um="")),
    "saturated": ("saturated", lambda r: put(r, "mosaics/m1.png", np.where(tissue(1) > 150, WHITE, tissue(1)))),
    "empty": ("empty image", lambda r: put(r, "mosaics/m1.png", np.full((SIDE, SIDE), 30, np.uint8))),
    "inverted": ("contrast upside down", lambda r: put(r, "mosaics/m1.png", 255 - tissue(1))),
    "no class": ("class without px", lambda r: relabel(r, lambda a: set_to(a, a == 2, 255), 4, 5)),
    "slips": ("slivers", lambda r: relabel(r, lambda a: set_to(a, (slice(2, 150, 5), slice(140, 142)), 3), 1)),
    "some split": ("split given for some", lambda r: rows_of(r, [1], split="")),
    "no training": ("nothing to train on", lambda r: rows_of(r, range(6), split="test")),
}  # fmt: skip


def test_a_clean_data_set_has_no_defect(clean: Path) -> None:
    checked = check_dataset(clean)

    assert checked.findings == []
    assert len(checked.mosaics) == len(SPLITS)
    assert all(seen.thumbnail is not None and seen.label_thumbnail is not None for seen in checked.mosaics)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_found_and_nothing_else(name: str, clean: Path, tmp_path: Path) -> None:
    kind, plant = PLANTED[name]
    root = tmp_path / "set"
    shutil.copytree(clean, root)

    plant(root)

    assert {finding.kind for finding in check_dataset(root).findings} == {kind}, name


def test_all_of_them_are_found_at_once(clean: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean, root)
    (root / "labels/m1.png").unlink()
    (root / "labels/m2.png").unlink()
    put(root, "labels/m3.png", bands(3)[:-1])
    (root / "mosaics/m4.png").write_bytes(b"")
    manifest(root, lambda rows: rows[5].update(split="tset"))

    kinds = [finding.kind for finding in check_dataset(root).findings if finding.level == "error"]

    assert sorted(kinds) == sorted(
        ["missing or unusable entry"] * 2 + ["unusable label map", "unreadable mosaic", "manifest.csv"]
    )


@pytest.mark.parametrize(("name", "level"), [("duplicate", "warning"), ("leak", "error"), ("overlap", "warning")])
def test_what_is_in_two_splits_is_an_error(name: str, level: str, clean: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean, root)
    PLANTED[name][1](root)

    found = check_dataset(root).findings

    assert [finding.level for finding in found] == [level]
    assert "several patients (p0, p" in found[0].text


def test_a_crop_has_the_landmarks_of_the_whole() -> None:
    image = np.random.default_rng(0).integers(0, 255, (700, 900), np.uint8)

    whole, part = landmarks(image), landmarks(image[101:501, 203:803])

    assert 150 < len(whole) < 600
    assert len(part) > 50
    assert np.isin(part, whole).all()
    assert not np.isin(landmarks(np.random.default_rng(1).integers(0, 255, (700, 900), np.uint8)), whole).any()
    assert len(landmarks(np.full((500, 500), 7, np.uint8))) == 0
    assert len(landmarks(np.zeros((3, 3), np.uint8))) == 0


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        check_dataset(tmp_path / "gone")
