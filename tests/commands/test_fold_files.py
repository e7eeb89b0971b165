import json
from dataclasses import replace
from pathlib import Path

import pytest

from rcm_cascade.commands.fold_files import Folds, settle_folds
from rcm_cascade.data.folds import FoldRule
from rcm_cascade.data.manifest import Dataset, read_dataset
from rcm_cascade.data.splits import patients_straddling, read_split
from rcm_cascade.errors import InputError
from rcm_cascade.phantom import write_phantoms
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import DataSection
from tests.running import tiny


@pytest.fixture(scope="session")
def clinics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of four patients with two mosaics each, two a clinic."""
    folder = tmp_path_factory.mktemp("clinics") / "phantoms"
    return write_phantoms(folder, mosaics=8, size_mm=(1, 1), pixel_size_um=8, patients=4, sites=2, processes=1)


@pytest.fixture
def data(clinics: Path) -> DataSection:
    return compose_config(tiny(clinics)).data


def settle(folder: Path, root: Path, data: DataSection, rule: FoldRule) -> Folds:
    return settle_folds(folder, read_dataset(root), data, rule)


def test_folds_are_written_once_and_found_again(clinics: Path, data: DataSection, tmp_path: Path) -> None:
    rule = FoldRule("patients", 2, 0)
    folds = settle(tmp_path, clinics, data, rule)
    assert len(folds.splits) == 2
    assert [read_split(folds.file(k)) for k in range(2)] == list(folds.splits)
    assert folds.file(1) == tmp_path / "fold1.csv"
    assert sorted(m for k in range(2) for m in folds.tested(k)) == sorted(e.mosaic for e in folds.dataset.entries)
    record = json.loads((tmp_path / "crossval.json").read_text())
    assert (record["rule"], record["folds"], record["split_seed"]) == ("patients", 2, 0)
    assert record["dataset_id"] == folds.dataset.id
    header, *lines = (tmp_path / "folds.csv").read_text().splitlines()
    assert header == "mosaic,patient,site,fold"
    assert len(lines) == 8
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert settle(tmp_path, clinics, data, rule) == folds
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (FoldRule("patients", 3, 0), r"folds: 2 → 3"),
        (FoldRule("patients", 2, 1), r"split_seed: 0 → 1"),
        (FoldRule("paper", 2, 0), r"rule: patients → paper"),
        (FoldRule("sites", None, 0), r"rule: patients → sites"),
    ],
)
def test_other_folds_than_those_written_are_refused(
    clinics: Path, data: DataSection, tmp_path: Path, rule: FoldRule, words: str
) -> None:
    settle(tmp_path, clinics, data, FoldRule("patients", 2, 0))
    with pytest.raises(InputError, match=rf"holds other folds \({words}\); choose another with --out NAME"):
        settle(tmp_path, clinics, data, rule)


def test_another_data_set_and_other_runs_are_refused(clinics: Path, data: DataSection, tmp_path: Path) -> None:
    rule = FoldRule("sites", None, 0)
    folds = settle(tmp_path / "cv", clinics, data, rule)
    fewer: Dataset = replace(folds.dataset, entries=folds.dataset.entries[:-1])
    with pytest.raises(InputError, match=rf"dataset_id: {folds.dataset.id} → {fewer.id}"):
        settle_folds(tmp_path / "cv", fewer, data, rule)
    for name in ("config.yaml", "sweep.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(InputError, match="holds other runs"):
            settle(tmp_path / name, clinics, data, rule)


def test_what_a_reader_must_know_is_said(
    clinics: Path, data: DataSection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_dataset(clinics)
    settle_folds(tmp_path / "plain", dataset, data, FoldRule("patients", 2, 0))
    said = capsys.readouterr().err
    assert "2 folds of patients" in said
    assert "fold 1: 2 train, 2 val, 4 test mosaics" in said
    assert "warning" not in said.lower().replace("warning: fold", "")

    entries = tuple(replace(e, split="train", patient="", patient_given=False) for e in dataset.entries)
    settle_folds(tmp_path / "column", replace(dataset, entries=entries), data, FoldRule("patients", 2, 0))
    said = capsys.readouterr().err
    assert f"the split column of {clinics / 'manifest.csv'} is ignored" in said
    assert "names no patient for 8 of 8 mosaics" in said

    folds = settle_folds(tmp_path / "paper", dataset, data, FoldRule("paper", 3, 0))
    straddling = {p for split in folds.splits for p in patients_straddling(dataset, split)}
    assert straddling
    assert f"WARNING: patients on both sides of a split: {', '.join(sorted(straddling))}" in capsys.readouterr().err

    first = dataset.entries[0]
    other = next(e.site for e in dataset.entries if e.site != first.site)
    mixed = replace(dataset, entries=(replace(first, site=other), *dataset.entries[1:]))
    settle_folds(tmp_path / "sites", mixed, data, FoldRule("sites", None, 0))
    said = capsys.readouterr().err
    assert said.count("leaves out the mosaics that its tested patients have from other sites") == 2
    assert first.patient in said


def test_classes_that_a_fold_cannot_learn_are_recorded(
    clinics: Path, data: DataSection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = settle(tmp_path, clinics, data, FoldRule("patients", 4, 0))
    assert all(0 <= fold < 4 and names for fold, names in folds.untrained.items())
    said = capsys.readouterr().err
    for fold, names in folds.untrained.items():
        assert f"warning: fold {fold} tests {', '.join(names)} and has none to train on" in said
    record = json.loads((tmp_path / "crossval.json").read_text())
    assert record["untrained"] == {str(fold): names for fold, names in folds.untrained.items()}
