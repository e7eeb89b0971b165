"""Real mosaics and labels: nothing is found in them as they are, and of many defects at once each one."""

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.data.check import check_dataset
from rcm_cascade.data.manifest import COLUMNS

Image_ = NDArray[np.uint8]
SIDE = 333
CUT_UP = "mosaics/sub-rat7-Maxo03img60.png"


@pytest.fixture
def axon_sem(real_data: Path) -> Path:
    return real_data / "axon-sem"


def test_nothing_is_found_in_real_data_as_they_are(axon_sem: Path) -> None:
    assert check_dataset(axon_sem).findings == []


class Broken:
    """A copy of axon-sem, of which one mosaic is cut into tiles, a fresh one for each defect."""

    def __init__(self, source: Path, root: Path) -> None:
        shutil.copytree(source, root)
        self.root = root
        with (root / "manifest.csv").open(newline="") as file:
            self.rows = {row["mosaic"]: row for row in csv.DictReader(file)}
        whole = [
            np.asarray(Image.open(root / self.rows[CUT_UP][column])).astype(np.uint8) for column in ("mosaic", "label")
        ]
        self.tiles = [
            [array[top : top + SIDE, left : left + SIDE] for array in whole]
            for top in range(0, 1998, SIDE) for left in range(0, 1998, SIDE)
        ]  # fmt: skip
        del self.rows[CUT_UP]
        self.expected: list[tuple[str, str]] = []

    def tile(self, **values: str) -> tuple[Path, Path, Image_, Image_]:
        """Adds the next tile; gives its files, and what is in them."""
        image, labels = self.tiles.pop()
        name = f"t{len(self.tiles)}.png"
        paths = [self.root / folder / name for folder in ("mosaics", "labels")]
        for path, array in zip(paths, (image, labels), strict=True):
            Image.fromarray(array).save(path)
        row = {"mosaic": f"mosaics/{name}", "label": f"labels/{name}", "patient": "sub-rat7", "site": ""}
        self.rows[name] = {**row, "split": "train", "pixel_size_um": "0.07"} | values
        return paths[0], paths[1], image, labels

    def expect(self, kind: str, name: str | Path) -> None:
        self.expected.append((kind, name if isinstance(name, str) else f"mosaics/{name.name}"))

    def plant_image(self, kind: str, change: Callable[[Image_], Image_]) -> None:
        path, _, image, _ = self.tile()
        Image.fromarray(change(image)).save(path)
        self.expect(kind, path)

    def plant_labels(self, kind: str, change: Callable[[Image_], Image_]) -> None:
        path, label, _, labels = self.tile()
        Image.fromarray(change(labels)).save(label)
        self.expect(kind, path)

    def plant_file(self, kind: str, which: int, change: Callable[[Path], object]) -> None:
        files = self.tile()
        change((files[0], files[1])[which])
        self.expect(kind, files[0])

    def plant_row(self, kind: str, mosaic: bool = True, **values: str) -> None:
        path = self.tile(**values)[0]
        self.expect(kind, path if mosaic else "")

    def found(self) -> list[tuple[str, str]]:
        with (self.root / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows.values())
        return [(finding.kind, finding.mosaic) for finding in check_dataset(self.root).findings]


def with_slips(labels: Image_) -> Image_:
    slips = np.where(labels == 1, 2, labels).astype(np.uint8)
    slips[5:150:5, 5:7] = 1
    return slips


def with_value(labels: Image_, value: int) -> Image_:
    changed = labels.copy()
    changed[9, 9] = value
    return changed


def test_of_many_defects_at_once_each_is_found_and_nothing_else(axon_sem: Path, tmp_path: Path) -> None:
    broken = Broken(axon_sem, tmp_path / "axon-sem")
    for _ in range(3):
        broken.tile()  # as they should be
    broken.plant_image("empty image", lambda a: np.full_like(a, 40))
    broken.plant_image("contrast upside down", lambda a: np.pad(a[4:-4, 4:-4], 4, constant_values=255))
    broken.plant_image("saturated", lambda a: np.where(a > np.quantile(a, 0.8), 255, a).astype(np.uint8))
    broken.plant_labels("unusable label map", lambda a: a[:-1])  # a row too few
    broken.plant_labels("unusable label map", lambda a: np.pad(a[:300], ((0, 33), (0, 1))))  # a column too many
    broken.plant_labels("unusable label map", lambda a: with_value(a, 9))  # no class
    broken.plant_labels("unusable label map", lambda a: np.stack([a * 9, a, a], axis=2))  # colours
    broken.plant_labels("nothing labelled", lambda a: np.full_like(a, 255))
    broken.plant_labels("slivers", with_slips)
    broken.plant_file("missing or unusable entry", 0, Path.unlink)
    broken.plant_file("missing or unusable entry", 1, Path.unlink)
    broken.plant_file("unreadable mosaic", 0, lambda p: p.write_bytes(b""))
    broken.plant_file("unreadable mosaic", 0, lambda p: os.truncate(p, 20_000))
    broken.plant_file("unreadable mosaic", 0, lambda p: p.write_text("a mosaic"))
    broken.plant_file("unusable label map", 1, lambda p: os.truncate(p, 300))
    broken.plant_row("missing or unusable entry", label="../labels.png")
    broken.plant_row("missing or unusable entry", pixel_size_um="0,07")
    broken.plant_row("manifest.csv", mosaic=False, split="training")
    broken.plant_row("strange pixel size", pixel_size_um="0.00007")
    broken.plant_row("mixed pixel sizes", pixel_size_um="0.9")
    broken.plant_row("pixel size unknown", pixel_size_um="")
    twin, first = broken.tile()[0], broken.tile()[0]
    shutil.copy(first, twin)
    broken.expect("duplicate mosaics", first)
    leaking, known = broken.tile(split="test")[0], broken.rows["mosaics/sub-rat1-data1.png"]
    shutil.copy(axon_sem / known["mosaic"], leaking)
    os.unlink(broken.root / "labels" / leaking.name)  # noqa: PTH108
    broken.rows[leaking.name] |= {"label": "", "patient": "sub-rat6"}
    broken.expect("duplicate mosaics", leaking)
    inside, _, image, _ = broken.tile()
    other = np.asarray(Image.open(axon_sem / "mosaics/sub-rat8-V915.png"))
    Image.fromarray(np.concatenate([other[500:700, 700 : 700 + SIDE], image[200:]])).save(inside)
    broken.expect("overlapping mosaics", inside)
    copied, shared = broken.tile(), broken.tile()
    shutil.copy(copied[1], shared[1])
    broken.expect("equal label maps", shared[0])
    named = broken.tile(label=f"labels/{copied[0].name}")
    broken.expect("one label map of two", named[0])
    broken.rows["mosaics/sub-rat8-V915.png"]["split"] = ""
    broken.expect("split given for some", "mosaics/sub-rat8-V915.png")
    broken.rows["mosaics/sub-rat2-data5.png"]["patient"] = "sub-rat6"
    broken.expect("patient in two splits", "")
    with (broken.root / "dataset.yaml").open("a") as file:
        file.write("  - {id: 3, name: glia, color: '#aaaaaa'}\n")
    for _ in range(3):
        broken.expect("class without px", "")
    found = broken.found()

    assert Counter(found) == Counter(broken.expected)
    assert len(found) >= 30
