from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.ids import DatasetIds, dataset_ids, legacy_id
from rcm_cascade.data.manifest import read_dataset, write_dataset

Row = dict[str, str | float | None]

ROWS: list[Row] = [
    {"mosaic": "a.png", "label": "a-labels.png", "patient": "p1", "site": "arm", "split": "train"},
    {"mosaic": "b.png", "label": "b-labels.png", "patient": "p2", "split": "test", "pixel_size_um": 0.5},
    {"mosaic": "c.png"},
]


@pytest.fixture
def root(tmp_path: Path, classes: ClassTable) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for name in ("a", "b", "c", "a-labels", "b-labels"):
        Image.fromarray(rng.integers(0, 3, (20, 30), np.uint8)).save(tmp_path / "set" / f"{name}.png")
    write_dataset(tmp_path / "set", name="set", classes=classes, rows=ROWS)
    return tmp_path / "set"


def ids(root: Path, cache: MosaicCache) -> DatasetIds:
    return dataset_ids(read_dataset(root), cache)


def test_relabelled_in_place_it_is_other_data_of_the_same_mosaics(root: Path, cache: MosaicCache) -> None:
    before = ids(root, cache)
    labels = np.array(Image.open(root / "a-labels.png"))
    labels[3, 4] = 255
    Image.fromarray(labels).save(root / "a-labels.png")
    after = ids(root, cache)
    assert after.content != before.content
    assert after.mosaics == before.mosaics
    assert after.legacy == before.legacy  # why runs no longer go by it
    assert all(len(text) == 16 for text in vars(after).values())


def test_a_mosaic_is_its_pixels_and_its_patient(root: Path, cache: MosaicCache, classes: ClassTable) -> None:
    before = ids(root, cache)
    (root / "a.png").rename(root / "d.png")
    write_dataset(root, name="renamed", classes=classes, rows=[*ROWS[1:], ROWS[0] | {"mosaic": "d.png", "site": "leg"}])
    renamed = ids(root, cache)
    assert (renamed.mosaics, renamed.content) == (before.mosaics, before.content)
    assert renamed.legacy != before.legacy
    write_dataset(root, name="set", classes=classes, rows=[*ROWS[1:], {"mosaic": "d.png", "patient": "p3"}])
    assert ids(root, cache).mosaics != before.mosaics
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "c.png")
    changed = ids(root, cache)
    assert changed.mosaics != before.mosaics
    write_dataset(root, name="set", classes=classes, rows=[*ROWS[1:], {"mosaic": "d.png", "patient": "p4"}])
    assert ids(root, cache).mosaics != changed.mosaics


def test_scores_belong_to_classes_labels_splits_and_pixel_sizes(root: Path, cache: MosaicCache) -> None:
    dataset = read_dataset(root)
    a, b, c = dataset.entries
    variants = [
        dataset,
        replace(dataset, classes=ClassTable(dataset.classes.classes[:2])),
        replace(dataset, pixel_size_um=2.0),
        replace(dataset, entries=(replace(a, split="val"), b, c)),
        replace(dataset, entries=(replace(a, label=b.label), b, c)),
        replace(dataset, entries=(replace(a, label=None), b, c)),
        replace(dataset, entries=(a, replace(b, pixel_size_um=0.6), c)),
    ]
    found = [dataset_ids(variant, cache) for variant in variants]
    assert len({one.content for one in found}) == len(variants)
    assert len({one.mosaics for one in found}) == 1
    assert dataset_ids(replace(dataset, entries=(c, a, b)), cache) == found[0]


def test_the_id_of_older_runs_is_the_manifests(root: Path, classes: ClassTable) -> None:
    first = legacy_id(read_dataset(root))
    assert first == "907884d09fb3bcae"  # recorded by the code of before

    def id_of(rows: list[Row], table: ClassTable = classes) -> str:
        write_dataset(root, name="other", classes=table, rows=rows)
        return legacy_id(read_dataset(root))

    assert id_of(ROWS[::-1]) == first
    changes: list[Row] = [
        {"patient": "p2"},
        {"site": "leg"},
        {"split": "val"},
        {"pixel_size_um": 2.0},
        {"label": "b.png"},
    ]
    changed = [id_of([ROWS[0] | change, *ROWS[1:]]) for change in changes]
    assert len({first, *changed, id_of(ROWS[:2]), id_of(ROWS, ClassTable(classes.classes[:2]))}) == len(changes) + 3
