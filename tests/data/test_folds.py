import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.folds import (
    FoldRule,
    Rule,
    assign_patients,
    class_pixels,
    format_folds,
    make_folds,
    untrained_classes,
)
from rcm_cascade.data.manifest import Dataset, MosaicEntry
from rcm_cascade.data.splits import patients_straddling
from rcm_cascade.errors import InputError
from tests.data.factories import memory_mosaic

Pixels = dict[str, NDArray[np.int64]]


def dataset(classes: ClassTable, patients: int, sites: int = 1) -> Dataset:
    """Patients of one to three mosaics, dealt out to the sites in turn."""
    entries = tuple(
        MosaicEntry(
            f"m{p}-{m}.tif",
            Path(f"m{p}-{m}.tif"),
            Path(f"m{p}-{m}.png"),
            patient=f"p{p}",
            patient_given=True,
            site=f"s{p % sites}",
        )
        for p in range(patients)
        for m in range(1 + p % 3)
    )
    return Dataset(root=Path("set"), name="set", classes=classes, entries=entries)


def pixels_of(data: Dataset, seed: int = 0) -> Pixels:
    """Areas that differ tenfold; class 0 is with everybody, 1 with every other patient, 2 with every fourth."""
    rng = np.random.default_rng(seed)
    held = {}
    for entry in data.entries:
        p = int(entry.patient[1:])
        areas = rng.lognormal(8, 1, 3) * [1, p % 2 == 0, p % 4 == 0]
        held[entry.mosaic] = areas.astype(np.int64)
    return held


def by_patient(data: Dataset, pixels: Pixels) -> Pixels:
    held: Pixels = {}
    for entry in data.entries:
        held[entry.patient] = pixels[entry.mosaic] + held.get(entry.patient, 0)
    return held


def unevenness(held: Pixels, assigned: Mapping[str, int], folds: int) -> float:
    """What `assign_patients` says that it keeps small, in floating point and without its shortcut."""
    areas, counts = np.zeros((folds, 3)), np.zeros(folds)
    for patient, fold in assigned.items():
        areas[fold] += held[patient]
        counts[fold] += 1
    shares = np.column_stack([areas / areas.sum(axis=0), counts / counts.sum()])
    return float(((shares - 1 / folds) ** 2).sum())


@pytest.mark.parametrize("folds", [2, 3, 5, 12])
def test_every_mosaic_is_tested_once_and_no_patient_straddles(classes: ClassTable, folds: int) -> None:
    data = dataset(classes, 12)
    splits = make_folds(data, FoldRule("patients", folds, 0), pixels_of(data))
    assert len(splits) == folds
    tested = [mosaic for split in splits for mosaic, part in split.items() if part == "test"]
    assert sorted(tested) == sorted(entry.mosaic for entry in data.entries)
    for split in splits:
        assert list(split) == [entry.mosaic for entry in data.entries]
        assert patients_straddling(data, split) == ()
        assert set(split.values()) == {"train", "val", "test"}


def test_classes_are_dealt_out_more_evenly_than_at_random(classes: ClassTable) -> None:
    data = dataset(classes, 24)
    for seed in range(5):
        held = by_patient(data, pixels_of(data, seed))
        ours = unevenness(held, assign_patients(held, 5, 0), 5)
        rng = np.random.default_rng(seed)
        drawn = [
            unevenness(held, dict(zip(held, rng.permutation(np.arange(24) % 5).tolist(), strict=True)), 5)
            for _ in range(300)
        ]
        assert ours < np.quantile(drawn, 0.02)
        assert ours < 0.5 * np.median(drawn)


def test_a_class_of_as_many_patients_as_folds_is_in_each(classes: ClassTable) -> None:
    held = {f"p{i}": np.array([1000 + 13 * i, 500, 40 if i < 5 else 0]) for i in range(15)}
    assigned = assign_patients(held, 5, 0)
    assert sorted(assigned[f"p{i}"] for i in range(5)) == [0, 1, 2, 3, 4]
    assert sorted(np.bincount(list(assigned.values()))) == [3] * 5


def test_each_patient_goes_where_the_sum_stays_smallest() -> None:
    held = {f"p{i}": np.random.default_rng(i).integers(0, 9000, 3) for i in range(10)}
    assigned = assign_patients(held, 3, 0)
    order = sorted(held, key=lambda p: -int(held[p].sum()))
    total, count = sum(held.values()), len(held)

    def cost(among: Mapping[str, int]) -> float:
        shares = np.zeros((3, 4))
        for patient, fold in among.items():
            shares[fold] += [*(held[patient] / total), 1 / count]
        return float(((shares - 1 / 3) ** 2).sum())

    placed: dict[str, int] = {}
    for patient in order:
        costs = [cost(placed | {patient: fold}) for fold in range(3)]
        assert costs[assigned[patient]] <= min(costs) + 1e-12
        placed[patient] = assigned[patient]


def test_folds_depend_on_names_areas_and_seed_only(classes: ClassTable) -> None:
    data = dataset(classes, 12)
    pixels = pixels_of(data)
    rule = FoldRule("patients", 4, 3)
    shuffled = replace(data, entries=data.entries[::-1], root=Path("elsewhere"))
    backwards = {mosaic: pixels[mosaic] for mosaic in reversed(pixels)}
    assert make_folds(data, rule, pixels) == make_folds(shuffled, rule, backwards)
    parts = [replace(entry, split="train") for entry in data.entries]
    assert make_folds(replace(data, entries=tuple(parts)), rule, pixels) == make_folds(data, rule, pixels)


def test_every_release_makes_the_same_folds(classes: ClassTable) -> None:
    # a fold is tested by networks that an earlier release may have trained
    data = dataset(classes, 12)
    pixels = {entry.mosaic: np.array([700 + 131 * i % 600, 90 * (i % 3), i**2]) for i, entry in enumerate(data.entries)}
    splits = make_folds(data, FoldRule("patients", 3, 0), pixels)
    found = {part: [sorted({int(m[1:].split("-")[0]) for m in s if s[m] == part}) for s in splits] for part in PINNED}
    assert found == PINNED
    (split,) = make_folds(data, FoldRule("paper", 1, 0), {})
    assert [mosaic for mosaic, part in split.items() if part == "test"] == PINNED_MOSAICS


PINNED = {"test": [[3, 6, 7, 11], [0, 1, 8, 10], [2, 4, 5, 9]], "val": [[8], [4], [0]]}
PINNED_MOSAICS = ["m1-1.tif", "m2-2.tif", "m4-1.tif", "m5-2.tif", "m7-1.tif", "m11-0.tif", "m11-2.tif"]


def test_among_equal_patients_the_seed_decides(classes: ClassTable) -> None:
    held = {f"p{i}": np.array([100, 100, 100]) for i in range(10)}
    drawn = [assign_patients(held, 5, seed) for seed in range(20)]
    draws = [tuple(assigned[patient] for patient in held) for assigned in drawn]
    assert len(set(draws)) > 15
    assert all(np.bincount(draw).tolist() == [2] * 5 for draw in draws)


def test_other_folds_have_other_validation_patients(classes: ClassTable) -> None:
    data = dataset(classes, 12)
    splits = make_folds(data, FoldRule("patients", 6, 0), pixels_of(data))
    validated = [{m.split("-")[0] for m, part in split.items() if part == "val"} for split in splits]
    assert all(len(patients) == 2 for patients in validated)  # 15 % of ten
    assert len(set.union(*validated)) > 4


def test_leave_one_site_out(classes: ClassTable) -> None:
    data = dataset(classes, 9, sites=3)
    splits = make_folds(data, FoldRule("sites", None, 0), {})
    assert len(splits) == 3
    for k, split in enumerate(splits):
        tested = {entry.site for entry in data.entries if split[entry.mosaic] == "test"}
        others = {entry.site for entry in data.entries if split[entry.mosaic] != "test"}
        assert tested == {f"s{k}"}
        assert others == {"s0", "s1", "s2"} - tested
        assert "val" in split.values()


def test_a_tested_patients_mosaics_from_other_sites_train_nobody(classes: ClassTable) -> None:
    data = dataset(classes, 9, sites=3)
    moved = next(i for i, entry in enumerate(data.entries) if entry.mosaic == "m1-1.tif")  # p1 is of s1
    entries = list(data.entries)
    entries[moved] = replace(entries[moved], site="s2")
    data = replace(data, entries=tuple(entries))
    splits = make_folds(data, FoldRule("sites", None, 0), {})
    assert "m1-0.tif" in splits[0]
    assert "m1-1.tif" in splits[0]
    assert splits[1]["m1-0.tif"] == "test"
    assert "m1-1.tif" not in splits[1]
    assert splits[2]["m1-1.tif"] == "test"
    assert "m1-0.tif" not in splits[2]
    assert all(patients_straddling(data, split) == () for split in splits)


def test_the_papers_rule_draws_mosaics_whosever_they_are(classes: ClassTable) -> None:
    data = dataset(classes, 15)
    assert len(data.entries) == 30
    splits = make_folds(data, FoldRule("paper", 40, 0), {})
    counts = dict.fromkeys((entry.mosaic for entry in data.entries), 0)
    for split in splits:
        tested = [mosaic for mosaic, part in split.items() if part == "test"]
        assert len(tested) == 9
        assert len(split) == 30
        for mosaic in tested:
            counts[mosaic] += 1
        parts = {m: part for m, part in split.items() if part != "test"}
        assert patients_straddling(data, parts) == ()  # validation is by patient here too
    assert 2 < min(counts.values()) <= max(counts.values()) < 24  # 12 expected, standard deviation 2.9
    assert all(patients_straddling(data, split) for split in splits)
    assert make_folds(data, FoldRule("paper", 2, 0), {}) == splits[:2]
    assert make_folds(data, FoldRule("paper", 2, 1), {}) != splits[:2]


def test_mosaics_without_labels_are_in_no_fold(classes: ClassTable) -> None:
    data = dataset(classes, 6, sites=2)
    bare = replace(data, entries=(*data.entries[:-1], replace(data.entries[-1], label=None)))
    pixels = pixels_of(data)
    del pixels[data.entries[-1].mosaic]
    rules: tuple[tuple[Rule, int | None], ...] = (("patients", 3), ("sites", None), ("paper", 2))
    for rule, count in rules:
        for split in make_folds(bare, FoldRule(rule, count, 0), pixels):
            assert set(split) == {entry.mosaic for entry in data.entries[:-1]}


def test_what_cannot_be_folded_is_one_sentence(classes: ClassTable) -> None:
    data = dataset(classes, 4)
    with pytest.raises(
        InputError, match=r"set/manifest\.csv leaves fold 4 by patients no labelled mosaic to test: it "
    ):
        make_folds(data, FoldRule("patients", 5, 0), pixels_of(data))
    with pytest.raises(InputError, match="fold 0 by sites no labelled mosaic to train: it names 7 of 4 pat"):
        make_folds(data, FoldRule("sites", None, 0), {})
    without = replace(data, entries=(*data.entries[:-2], *(replace(e, site="") for e in data.entries[-2:])))
    with pytest.raises(InputError, match=r"no site for m2-2\.tif \(2 in all\)"):
        make_folds(without, FoldRule("sites", None, 0), {})
    one = replace(data, entries=tuple(replace(e, patient="p", site=f"s{i % 2}") for i, e in enumerate(data.entries)))
    with pytest.raises(InputError, match="fold 0 by sites no labelled mosaic to train"):
        make_folds(one, FoldRule("sites", None, 0), {})
    with pytest.raises(InputError, match="fold 0 by paper no labelled mosaic to test: it names 1 of 1 patients"):
        make_folds(replace(data, entries=data.entries[:1]), FoldRule("paper", 3, 0), {})


def test_classes_without_a_training_pixel_are_named() -> None:
    pixels = {"a": np.array([5, 0, 3]), "b": np.array([5, 2, 0]), "c": np.array([5, 0, 3])}
    assert untrained_classes({"a": "train", "b": "test", "c": "val"}, pixels) == [1]
    assert untrained_classes({"a": "test", "b": "train", "c": "val"}, pixels) == [2]
    assert untrained_classes({"a": "test", "b": "val", "c": "train"}, pixels) == []


def test_labelled_pixels_are_counted_by_mosaic_and_255_is_none() -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 1, 3, 255], np.uint8), (37, 30))
    mosaics = [memory_mosaic(labels, labels, "a"), memory_mosaic(labels, labels[:5], "b")]
    counts = class_pixels(mosaics, 4)
    assert counts["a"].tolist() == [(labels == c).sum() for c in range(4)]
    assert counts["b"].tolist() == [(labels[:5] == c).sum() for c in range(4)]


def test_the_written_table_has_a_line_for_each_fold_that_tests_a_mosaic(classes: ClassTable) -> None:
    data = dataset(classes, 4, sites=2)
    data = replace(data, entries=(*data.entries[:-1], replace(data.entries[-1], patient="", patient_given=False)))
    splits = make_folds(data, FoldRule("paper", 3, 0), {})
    rows = list(csv.DictReader(format_folds(data, splits).splitlines()))
    assert list(rows[0]) == ["mosaic", "patient", "site", "fold"]
    tested = [(m, str(k)) for k, split in enumerate(splits) for m, part in split.items() if part == "test"]
    assert sorted((r["mosaic"], r["fold"]) for r in rows if r["fold"]) == sorted(tested)
    never = {entry.mosaic for entry in data.entries} - {m for m, _ in tested}
    assert {r["mosaic"] for r in rows if not r["fold"]} == never
    assert rows[0]["patient"] == "p0"
    assert rows[-1]["patient"] == ""
