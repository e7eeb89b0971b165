import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from rcm_cascade.cli import main
from rcm_cascade.commands.crossval import Request, crossval
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import read_split
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import load_checkpoint
from rcm_cascade.runs.jobs import read_sweep
from tests.running import tiny


@pytest.fixture(scope="session")
def crossvalidated(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds runs/cv: two folds of one seed."""
    folder = tmp_path_factory.mktemp("crossval")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["crossval", *tiny(phantoms), "--folds", "2", "--out", "cv"]) == 0
    return folder


@pytest.fixture
def here(crossvalidated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the current folder."""
    shutil.copytree(crossvalidated, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def snapshot(folder: Path) -> dict[str, int]:
    kept = ("*.ckpt", "evaluation/confusions.json", "fold*.csv", "crossval.json", "result.json")
    return {str(p): p.stat().st_mtime_ns for pattern in kept for p in folder.rglob(pattern)}


@pytest.mark.slow
def test_every_mosaic_is_tested_by_a_network_that_never_saw_its_patient(crossvalidated: Path, phantoms: Path) -> None:
    out = crossvalidated / "runs" / "cv"
    patients = {entry.mosaic: entry.patient for entry in read_dataset(phantoms).entries}
    total, tested = np.zeros((6, 6), np.int64), []
    for fold in range(2):
        run = out / f"fold{fold}-seed0"
        header = load_checkpoint(run / "checkpoints" / "best.ckpt").header
        assert header.split == read_split(out / f"fold{fold}.csv")
        scored = json.loads((run / "evaluation" / "confusions.json").read_text())["mosaics"]
        trained_on = {patients[m] for m, part in header.split.items() if part != "test"}
        assert trained_on.isdisjoint(patients[m["mosaic"]] for m in scored)
        total += np.sum([m["confusion"] for m in scored], axis=0)
        tested += [m["mosaic"] for m in scored]
        assert yaml.safe_load((run / "config.yaml").read_text())["data"]["split_file"] == f"runs/cv/fold{fold}.csv"
    assert sorted(tested) == sorted(patients)
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["confusion"] == total.tolist()
    assert summary["patients"] == 6
    assert summary["mean"]["sensitivity_ci"] is not None
    with (out / "folds.csv").open() as file:
        rows = {row["mosaic"]: int(row["fold"]) for row in csv.DictReader(file)}
    assert all(read_split(out / f"fold{fold}.csv")[mosaic] == "test" for mosaic, fold in rows.items())


@pytest.mark.slow
def test_what_it_leaves(crossvalidated: Path) -> None:
    out = crossvalidated / "runs" / "cv"
    assert {p.name for p in out.iterdir() if p.name != ".lock"} == {
        "crossval.json", "crossval.csv", "sweep.json", "folds.csv", "fold0.csv", "fold1.csv", "fold0-seed0",
        "fold1-seed0", "metrics.json", "per_mosaic.csv", "per_patient.csv", "confusions.json", "confusion.png",
        "report.html",
    }  # fmt: skip
    page = (out / "report.html").read_text()
    assert "synthetic" in page
    assert "mosaic by mean Dice" in page
    sweep = read_sweep(out)
    assert [(job.name, job.state, job.seed) for job in sweep.jobs] == [
        ("fold0-seed0", "finished", 0),
        ("fold1-seed0", "finished", 0),
    ]
    assert sweep.jobs[1].overrides[-2:] == ("data.split_file=fold1.csv", "seed=0")


@pytest.mark.slow
def test_the_same_command_again_trains_and_scores_nothing(
    here: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(here)
    pooled = json.loads(Path("runs/cv/metrics.json").read_text())
    assert main(["crossval", "--folds", "2", *tiny(phantoms), "--out", "cv", "data.num_workers=0"]) == 0
    assert snapshot(here) == before
    assert json.loads(Path("runs/cv/metrics.json").read_text()) == pooled
    said = capsys.readouterr()
    assert said.err.count("is finished") == 2
    assert "runs/cv/report.html" in said.out


@pytest.mark.slow
def test_other_folds_and_another_configuration_are_refused(
    here: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(here)
    assert main(["crossval", *tiny(phantoms), "--folds", "3", "--out", "cv"]) == 2
    assert "holds other folds (folds: 2 → 3)" in capsys.readouterr().err
    assert main(["crossval", *tiny(phantoms), "data.split_seed=1", "--folds", "2", "--out", "cv"]) == 2
    assert "holds other folds (split_seed: 0 → 1)" in capsys.readouterr().err
    assert main(["crossval", *tiny(phantoms), "model.base_filters=3", "--folds", "2", "--out", "cv"]) == 2
    assert "holds another configuration (model.base_filters: 2 → 3)" in capsys.readouterr().err
    assert snapshot(here) == before


@pytest.mark.slow
def test_a_run_of_another_split_is_not_taken_for_the_folds(here: Path, phantoms: Path) -> None:
    split = Path("runs/cv/fold1-seed0/split.csv")
    split.write_text(split.read_text().replace(",test\n", ",train\n"))
    assert crossval(Request(tiny(phantoms), folds=2, out="cv")) == 1
    failure = json.loads(Path("runs/cv/fold1-seed0/failure.json").read_text())["error"]
    assert "another split than runs/cv/fold1.csv" in failure


@pytest.mark.slow
def test_a_fold_that_fails_fails_alone_and_is_run_by_the_next_command(
    here: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path("runs/cv/fold1-seed0")
    (broken / "result.json").unlink()
    (broken / "checkpoints" / "last.ckpt").write_bytes(b"half a checkpoint")
    assert main(["crossval", *tiny(phantoms), "--folds", "2", "--out", "cv"]) == 1
    said = capsys.readouterr().err
    assert "fold1-seed0 failed: checkpoint runs/cv/fold1-seed0/checkpoints/last.ckpt cannot be read" in said
    assert "no pooled result of seed 0: a fold failed" in said
    assert "cannot be read" in json.loads((broken / "failure.json").read_text())["error"]
    with Path("runs/cv/crossval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["failure"]) for row in rows] == [False, True]
    shutil.rmtree(broken)
    assert main(["crossval", *tiny(phantoms), "--folds", "2", "--out", "cv"]) == 0
    assert not (broken / "failure.json").exists()
    assert (broken / "result.json").is_file()


@pytest.mark.slow
def test_a_further_seed_is_added_and_summed(here: Path, phantoms: Path) -> None:
    before = snapshot(here)
    alone = json.loads(Path("runs/cv/metrics.json").read_text())
    assert crossval(Request(tiny(phantoms, "seed=0,1"), folds=2, out="cv")) == 0
    assert before.items() <= snapshot(here).items()
    summary = json.loads(Path("runs/cv/metrics.json").read_text())
    assert [s["seed"] for s in summary["seeds"]] == [0, 1]
    assert summary["seeds"][0]["mean"] == alone["mean"]
    assert summary["over_seeds"]["sensitivity"]["n"] == 2
    assert summary["labelled_pixels"] == 2 * alone["labelled_pixels"]
    second = json.loads(Path("runs/cv/seed1/metrics.json").read_text())
    assert summary["confusion"] == (np.array(alone["confusion"]) + np.array(second["confusion"])).tolist()
    assert alone["confusion"] != second["confusion"]
    with Path("runs/cv/crossval.csv").open() as file:
        assert [(r["fold"], r["seed"]) for r in csv.DictReader(file)] == [
            ("0", "0"),
            ("1", "0"),
            ("0", "1"),
            ("1", "1"),
        ]


@pytest.mark.slow
def test_designs_are_compared_on_the_same_folds_from_the_console_script(phantoms: Path, tmp_path: Path) -> None:
    script = str(Path(sys.executable).parent / "rcm-cascade")
    command = [script, "crossval", *tiny(phantoms), "--designs", "cascade,unet", "--folds", "2", "--rule", "patients"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (out,) = (tmp_path / "runs").iterdir()
    assert out.name.startswith("crossval-patients-2,designs=cascade+unet,")
    comparison = json.loads((out / "comparison.json").read_text())
    assert [d["design"] for d in comparison["designs"]] == ["cascade", "unet"]
    assert comparison["designs"][1]["differences"]["dice"][-1]["low"] is not None
    for design in ("cascade", "unet"):
        assert json.loads((out / design / "metrics.json").read_text())["mosaics"] == 6
        assert len(list(out.glob(f"{design}-fold?-seed0/result.json"))) == 2
    levels = [
        load_checkpoint(out / f"{d}-fold0-seed0/checkpoints/best.ckpt").header.model.levels for d in ("cascade", "unet")
    ]
    assert levels == [3, 1]
    assert "How the designs differ" in (out / "report.html").read_text()
    assert "unet against cascade" in (out / "report.html").read_text()


@pytest.mark.slow
def test_the_papers_rule_warns_loudly_and_pools(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "one-patient"
    shutil.copytree(phantoms, root)
    dataset = read_dataset(root)
    manifest = (root / "manifest.csv").read_text()
    for entry in dataset.entries[1:4]:
        manifest = manifest.replace(entry.patient, dataset.entries[0].patient)
    (root / "manifest.csv").write_text(manifest)
    assert main(["crossval", *tiny(root), "--rule", "paper", "--repeats", "2", "--out", "as-published"]) == 0
    assert f"WARNING: patients on both sides of a split: {dataset.entries[0].patient}" in capsys.readouterr().err
    summary = json.loads(Path("runs/as-published/metrics.json").read_text())
    assert 2 <= summary["mosaics"] <= 4
    assert "the numbers are too good" in Path("runs/as-published/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.levls=2"], "model.levls: no such key"),
        (["data.split_file=a.csv"], "data.split_file=a.csv: crossval makes the splits"),
        (["run=a"], "--out NAME"),
        (["+sweep=levels"], "crossval trains one configuration"),
        (["trainer.devices=2"], "trainer.devices=1"),
        (["seed=0,x"], "seed: got 'x'"),
        (["seed=0,-1"], "seed: got -1"),
        (["launcher=slurm"], "crossval trains here"),
        (["--designs", "cascade,unet,"], "has an empty name"),
        (["--rule", "sites", "--folds", "3"], "--folds 3 has no meaning with --rule sites"),
        (["--repeats", "3"], "--repeats 3 has no meaning with --rule patients"),
        (["--folds", "1"], "--folds is 1; expected 2 or more"),
        (["--rule", "paper", "--repeats", "0"], "--repeats is 0; expected 1 or more"),
        (["--out", "../up"], "--out ../up leads out of runs/"),
        (["--designs", "cascade,unet,cascade"], "names a model twice"),
        (["--designs", "cascade,unet", "model=unet"], "--designs names the models"),
        (["--designs", "cascade,other"], "other"),
        (["--folds", "7"], "names 6 patients with labelled mosaics, too few for 7 folds"),
        (["--rule", "sites"], "one site only"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], words: str, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["crossval", *tiny(phantoms), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} <= {".lock"}


def test_overrides_may_stand_before_between_and_behind_options(phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def remember(request: Request) -> int:
        asked.append(request)
        return len(asked) - 1

    monkeypatch.setattr("rcm_cascade.commands.crossval.crossval", remember)
    assert main(["crossval"]) == 0
    assert (
        main(["crossval", "a=1", "--folds", "3", "b=[1,2]", "--rule", "patients", "--designs", "x,y", "c='d=e'"]) == 1
    )
    assert asked[0] == Request([])
    assert asked[1] == Request(["a=1", "b=[1,2]", "c='d=e'"], "patients", 3, None, None, ["x", "y"])


@pytest.mark.slow
def test_a_second_process_is_refused(here: Path, phantoms: Path) -> None:
    from filelock import FileLock

    with FileLock("runs/cv/.lock"), pytest.raises(InputError, match="in use by another process"):
        crossval(Request(tiny(phantoms), folds=2, out="cv"))
