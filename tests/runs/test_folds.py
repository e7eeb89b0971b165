"""Folds as values of the configuration, and the sweep that runs every one."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import load_training_data
from rcm_cascade.runs.identity import write_config
from rcm_cascade.runs.jobs import read_sweep
from rcm_cascade.runs.launch import launch
from rcm_cascade.runs.train import train
from tests.running import tiny


@pytest.fixture
def root(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the phantoms that may be changed, below the current folder."""
    monkeypatch.chdir(tmp_path)
    for path in phantoms.rglob("*"):
        if path.is_file():
            (tmp_path / "set" / path.relative_to(phantoms)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / path.relative_to(phantoms)).write_bytes(path.read_bytes())
    return Path("set")


def record(config: TrainConfig, folder: Path) -> None:
    """Stands for training."""
    write_config(folder / "config.yaml", config)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_json(folder / "result.json", {})


def fill(root: Path, column: str, values: list[str]) -> None:
    """Writes a column of the manifest."""
    with (root / "manifest.csv").open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row, value in zip(rows, values, strict=True):
        row[column] = value
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_every_patient_is_tested_once_by_a_network_that_never_saw_it(root: Path) -> None:
    patients = {entry.mosaic: entry.patient for entry in read_dataset(root).entries}
    tested = []
    for fold in range(3):
        split = load_training_data(compose_config(tiny(root, f"data.fold={fold}", "data.folds=3")).data).split
        assert "train" in split.values()
        seen = {patients[mosaic] for mosaic, part in split.items() if part != "test"}
        assert seen.isdisjoint(patients[mosaic] for mosaic, part in split.items() if part == "test")
        tested += [mosaic for mosaic, part in split.items() if part == "test"]
    assert sorted(tested) == sorted(patients)


def test_a_fold_is_trained_and_says_which_classes_it_was_trained_on(root: Path) -> None:
    result = train(compose_config(tiny(root, "data.fold=1", "data.folds=2")), Path("run"))
    assert set(result["trained_classes"]) <= set(read_dataset(root).classes.names)
    assert result["trained_classes"]
    data = yaml.safe_load(Path("run/config.yaml").read_text())["data"]
    assert (data["fold"], data["folds"], data["rule"]) == (1, 2, "patients")
    with Path("run/split.csv").open() as file:
        split = {row["mosaic"]: row["split"] for row in csv.DictReader(file)}
    assert split == load_training_data(compose_config(tiny(root, "data.fold=1", "data.folds=2")).data).split


def test_the_sweep_runs_every_fold_with_every_seed_and_writes_the_folds_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [*tiny(root), "+sweep=crossval", "data.folds=2", "seed=0,1", "run=cv"]
    launch(told, record)
    assert "2 folds of patients" in capsys.readouterr().err
    sweep = read_sweep(Path("runs/cv"))
    assert sorted(job.name for job in sweep.jobs) == [f"data.fold={k},seed={s}" for k in (0, 1) for s in (0, 1)]
    assert {job.state for job in sweep.jobs} == {"finished"}
    configs = [yaml.safe_load((job.folder.config).read_text())["data"] for job in sweep.jobs]
    assert sorted(data["fold"] for data in configs) == [0, 0, 1, 1]
    with Path("runs/cv/folds.csv").open() as file:
        fold_of = {row["mosaic"]: int(row["fold"]) for row in csv.DictReader(file)}
    assert set(fold_of) == {entry.mosaic for entry in read_dataset(root).entries}
    for fold in (0, 1):
        split = load_training_data(compose_config(tiny(root, f"data.fold={fold}", "data.folds=2")).data).split
        assert {m for m, part in split.items() if part == "test"} == {m for m, k in fold_of.items() if k == fold}
    before = Path("runs/cv/folds.csv").read_bytes()
    launch(told, record)
    assert Path("runs/cv/folds.csv").read_bytes() == before
    with pytest.raises(InputError, match=r"another configuration \(model\.base_filters: 2 → 3\)"):
        launch([*told, "model.base_filters=3"], record)


def test_folds_of_a_data_set_that_has_changed_are_refused(root: Path) -> None:
    told = [*tiny(root), "+sweep=crossval", "data.folds=2", "run=cv"]
    launch(told, record)
    entries = read_dataset(root).entries
    fill(root, "patient", [entries[0].patient] * 3 + [entry.patient for entry in entries[3:]])
    with pytest.raises(InputError, match=r"folds\.csv holds other folds than set makes now"):
        launch(told, record)


def test_by_site_there_are_as_many_folds_as_sites(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root, "site", ["a", "a", "b", "b", "c", "c"])
    launch([*tiny(root), "+sweep=crossval", "data.rule=sites", "model=cascade,unet", "run=cv"], record)
    assert len(read_sweep(Path("runs/cv")).jobs) == 6
    assert "leave one site out: 3 folds" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"data\.fold=3, and .*manifest\.csv makes 3 folds"):
        load_training_data(compose_config(tiny(root, "data.rule=sites", "data.fold=3")).data)


def test_what_flatters_is_said_loudly(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = read_dataset(root).entries
    fill(root, "patient", [entries[0].patient] * 4 + ["", ""])
    launch([*tiny(root), "+sweep=crossval", "data.rule=paper", "data.repeats=2", "run=cv"], record)
    said = capsys.readouterr().err
    assert f"WARNING: patients on both sides of a split: {entries[0].patient}" in said
    assert "names no patient for 2 of 6 mosaics" in said


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.folds=7"], "leaves fold 6 by patients no labelled mosaic to test: it names 6 of 6 patients"),
        (["data.rule=sites"], "leaves fold 0 by sites no labelled mosaic to train"),
        (["data.split_file=a.csv"], "data.split_file and data.fold are both given"),
        (["data.rule=sites", "data.folds=2"], "data.folds=2 has no meaning with data.rule=sites"),
        (["model.levls=2"], "model.levls: no such key"),
        (["data.rule=patients,paper"], "one data set and one way of folding it"),
    ],
)
def test_what_cannot_be_folded_is_one_sentence_and_leaves_nothing(overrides: list[str], words: str, root: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        launch([*tiny(root), "+sweep=crossval", *overrides], record)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_a_single_fold_may_be_swept_over_by_hand(root: Path) -> None:
    launch(["--multirun", *tiny(root), "data.folds=3", "data.fold=0,2", "run=some"], record)
    names = {job.name for job in read_sweep(Path("runs/some")).jobs}
    assert names == {"data.fold=0", "data.fold=2"}
    assert json.loads(Path("runs/some/sweep.json").read_text())["name"] == "some"
    shutil.rmtree("runs")
