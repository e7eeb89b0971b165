from dataclasses import replace
from pathlib import Path

import pytest

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.manifest import Dataset, MosaicEntry, SplitName, read_dataset
from rcm_cascade.data.splits import (
    copies_straddling,
    keep_training_patients,
    make_split,
    patients_straddling,
    read_split,
    write_split,
)
from rcm_cascade.errors import InputError


def dataset(classes: ClassTable, patients: int, mosaics_each: int = 2) -> Dataset:
    entries = tuple(
        MosaicEntry(f"m{p}-{m}.tif", Path(f"m{p}-{m}.tif"), Path(f"m{p}-{m}.png"), patient=f"p{p}", patient_given=True)
        for p in range(patients)
        for m in range(mosaics_each)
    )
    return Dataset(root=Path("set"), name="set", classes=classes, entries=entries)


def with_splits(data: Dataset, *splits: SplitName | None) -> Dataset:
    pairs = zip(data.entries, splits, strict=True)
    return replace(data, entries=tuple(replace(entry, split=split) for entry, split in pairs))


@pytest.mark.parametrize(
    ("patients", "test", "val"),
    [(1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 1, 1), (5, 2, 1), (10, 3, 1), (20, 6, 2), (50, 15, 5)],
)
def test_shares_of_patients(classes: ClassTable, patients: int, test: int, val: int) -> None:
    data = dataset(classes, patients)
    for seed in range(5):
        split = make_split(data, seed=seed)
        assert list(split) == [entry.mosaic for entry in data.entries]
        assert patients_straddling(data, split) == ()
        parts = [part for _, part in {(entry.patient, split[entry.mosaic]) for entry in data.entries}]
        assert (parts.count("test"), parts.count("val"), parts.count("train")) == (test, val, patients - test - val)


def test_the_draw_depends_on_seed_and_names_only(classes: ClassTable) -> None:
    data = dataset(classes, 10)
    shuffled = replace(data, entries=data.entries[::-1], root=Path("elsewhere"))
    assert make_split(data, seed=3) == make_split(shuffled, seed=3)
    draws = [tuple(make_split(data, seed=seed).values()) for seed in range(20)]
    assert len(set(draws)) > 15
    # every release must draw the same: a patient who moves to the test set was trained on before
    tested = {m.split("-")[0] for m, part in make_split(data, seed=0).items() if part == "test"}
    assert tested == {"m1", "m2", "m9"}


def test_every_patient_is_tested_under_some_seed(classes: ClassTable) -> None:
    data = dataset(classes, 6, 1)
    counts = dict.fromkeys((entry.mosaic for entry in data.entries), 0)
    for seed in range(200):
        for mosaic, part in make_split(data, seed=seed).items():
            counts[mosaic] += part == "test"
    assert min(counts.values()) > 35  # 67 expected, standard deviation 6.7
    assert max(counts.values()) < 100


def test_without_patients_mosaics_are_drawn(classes: ClassTable) -> None:
    entries = tuple(MosaicEntry(f"m{i}.tif", Path(f"m{i}.tif"), Path(f"m{i}.png")) for i in range(10))
    split = make_split(Dataset(root=Path("set"), name="set", classes=classes, entries=entries), seed=0)
    assert sorted(split.values()) == ["test"] * 3 + ["train"] * 6 + ["val"]


def test_mosaics_without_labels_are_in_no_split(classes: ClassTable) -> None:
    data = dataset(classes, 4)
    bare = replace(data, entries=(replace(data.entries[0], label=None), *data.entries[1:]))
    assert set(make_split(bare, seed=0)) == {entry.mosaic for entry in data.entries[1:]}
    rest: list[SplitName] = ["train"] * 7
    split = make_split(with_splits(bare, None, *rest), seed=0)
    assert set(split) == {entry.mosaic for entry in data.entries[1:]}
    with pytest.raises(InputError, match="no labelled mosaic to train on"):
        make_split(replace(data, entries=tuple(replace(entry, label=None) for entry in data.entries)), seed=0)


def test_the_manifest_goes_before_the_draw(classes: ClassTable) -> None:
    data = with_splits(dataset(classes, 2), "train", "test", "val", "train")
    assert make_split(data, seed=0) == {"m0-0.tif": "train", "m0-1.tif": "test", "m1-0.tif": "val", "m1-1.tif": "train"}
    assert patients_straddling(data, make_split(data, seed=0)) == ("p0", "p1")


def test_a_half_filled_column_is_refused(classes: ClassTable) -> None:
    with pytest.raises(InputError, match=r"none for m0-1\.tif \(2 in all\)"):
        make_split(with_splits(dataset(classes, 2), "train", None, None, "test"), seed=0)


def test_something_must_be_left_to_train_on(classes: ClassTable, tmp_path: Path) -> None:
    data = with_splits(dataset(classes, 2), "test", "test", "val", "val")
    with pytest.raises(InputError, match=r"manifest\.csv leaves no labelled mosaic to train on"):
        make_split(data, seed=0)
    assert set(make_split(data, seed=0, training=False).values()) == {"test", "val"}
    write_split(tmp_path / "split.csv", {"m0-0.tif": "test"})
    with pytest.raises(InputError, match=r"split\.csv leaves no labelled mosaic to train on"):
        make_split(data, seed=0, split_file=tmp_path / "split.csv")


def test_the_split_file_goes_before_the_manifest(classes: ClassTable, tmp_path: Path) -> None:
    data = with_splits(dataset(classes, 2), "train", "test", "val", "train")
    path = tmp_path / "split.csv"
    write_split(path, {"m1-1.tif": "test", "m0-0.tif": "train"})
    split = make_split(data, seed=0, split_file=path)
    assert split == {"m0-0.tif": "train", "m1-1.tif": "test"}
    assert list(split) == ["m0-0.tif", "m1-1.tif"]
    write_split(path, {"m9.tif": "train"})
    with pytest.raises(InputError, match=r"names 'm9\.tif', which is no labelled mosaic of set/manifest\.csv"):
        make_split(data, seed=0, split_file=path)
    write_split(path, {"m0-0.tif": "train"})
    bare = replace(data, entries=(replace(data.entries[0], label=None), *data.entries[1:]))
    with pytest.raises(InputError, match=r"'m0-0\.tif', which is no labelled mosaic"):
        make_split(bare, seed=0, split_file=path)


def test_written_and_read(tmp_path: Path) -> None:
    split: dict[str, SplitName] = {"a, b.tif": "train", "ä.tif": "test", "c.tif": "val"}
    write_split(tmp_path / "run" / "split.csv", split)
    assert read_split(tmp_path / "run" / "split.csv") == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mosaic,split\na.tif,training\n", "line 2, has the split 'training'; expected train, val, test"),
        ("mosaic,split\na.tif,train\na.tif,test\n", r"line 3, names the mosaic a\.tif of line 2 again"),
        ("mosaic\na.tif\n", "header 'mosaic'"),
        ("mosaic,split,fold\n", "header 'mosaic,split,fold'"),
    ],
)
def test_malformed_files_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_split(path)


@pytest.mark.slow
def test_the_official_split_of_the_real_data(real_data: Path) -> None:
    data = read_dataset(real_data / "axon-sem")
    split = make_split(data, seed=0)
    assert [mosaic for mosaic, part in split.items() if part == "test"] == ["mosaics/sub-rat6-data15.png"]
    assert patients_straddling(data, split) == ()
    aerial = read_dataset(real_data / "aerial")
    assert patients_straddling(aerial, make_split(aerial, seed=0)) == ()


def test_a_fraction_of_the_training_patients_is_kept_and_smaller_ones_lie_in_larger_ones(classes: ClassTable) -> None:
    data = dataset(classes, 30)
    split = make_split(data, seed=0)
    patient = {entry.mosaic: entry.patient for entry in data.entries}
    before: set[str] = set()
    for fraction, expected in ((0.01, 1), (0.1, 2), (0.5, 9), (1.0, 18)):
        kept = keep_training_patients(data, split, fraction, seed=0)
        patients = {patient[mosaic] for mosaic, part in kept.items() if part == "train"}
        assert len(patients) == expected
        assert patients >= before
        before = patients
        assert sum(part == "train" for part in kept.values()) == 2 * expected
        for part in ("val", "test"):
            assert [m for m in kept if kept[m] == part] == [m for m in split if split[m] == part]
    assert kept == split
    other = keep_training_patients(data, split, 0.5, seed=1)
    assert other != keep_training_patients(data, split, 0.5, seed=0)


def test_one_image_on_both_sides_of_a_split_is_seen() -> None:
    contents = {"a": "1", "b": "2", "c": "1", "d": "1", "e": "2"}

    assert copies_straddling(contents, {"a": "train", "b": "val", "c": "train", "d": "test", "e": "val"}) == (
        "d (= a)",
    )
    assert copies_straddling(contents, dict.fromkeys(contents, "train")) == ()
