import base64
import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.cli import main
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.confusion import dice, macro_mean
from rcm_cascade.files import write_json
from rcm_cascade.models.checkpoint import digest
from rcm_cascade.pictures.maps import colorize
from rcm_cascade.report import reading
from rcm_cascade.report import sweep as reports
from rcm_cascade.report.compare import Comparison
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.report.pages import PAGE
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.report.sweep import GRADIENTS, LEVELS, RESULTS, galleries, write_report
from rcm_cascade.report.sweep import write_report as report
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.identity import write_config
from rcm_cascade.runs.jobs import Job
from tests.report.factories import make_sweep, predict, write_job, write_sweep, write_test_result
from tests.report.test_pages import Page, check_self_contained


def test_page_and_tables_are_written_and_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_sweep(tmp_path / "levels", pictures=True)
    assert main(["report", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(folder / PAGE)
    assert captured.err == ""
    check_self_contained(Page(folder / PAGE))
    with (folder / RESULTS).open() as file:
        assert len(list(csv.DictReader(file))) == 25
    with (folder / LEVELS).open() as file:
        assert len(list(csv.DictReader(file))) == 6
    with (folder / GRADIENTS).open() as file:
        assert len(list(csv.DictReader(file))) == 42
    written = {name: (folder / name).read_bytes() for name in (PAGE, RESULTS, LEVELS, GRADIENTS)}
    assert main(["report", str(folder)]) == 0
    assert written == {name: (folder / name).read_bytes() for name in written}


def test_options_are_heeded(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "levels")
    assert main(["report", str(folder), "--reference", "levels=2", "--score", "0.5", "--metric", "dice"]) == 0
    text = Page(folder / PAGE).text
    assert "the reference, model.levels=2, by the mean Dice" in text
    assert "first 0.500 or more" in text


def test_finished_jobs_are_scored_first_and_what_fails_fails_alone(
    finished_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere, sweep = tmp_path / "elsewhere", tmp_path / "sweep"
    bare = shutil.ignore_patterns("evaluation")  # which another test may have written
    shutil.copytree(finished_run, elsewhere, ignore=bare)
    shutil.copytree(finished_run, sweep / "gone", ignore=bare)
    config = yaml.safe_load((sweep / "gone" / "config.yaml").read_text())
    config["data"]["root"] = str(tmp_path / "nowhere")
    (sweep / "gone" / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(finished_run, sweep / "old", ignore=bare)
    (sweep / "old" / "config.yaml").write_text("data: {}\n")
    (sweep / "linked").symlink_to(elsewhere, target_is_directory=True)
    write_json(sweep / "failed" / "failure.json", {"error": "patch does not fit"})
    jobs = {
        name: ["model.base_filters=2", f"x={name}", "seed=0"] for name in ("gone", "linked", "failed", "old", "new")
    }
    write_sweep(sweep, jobs)

    assert main(["report", str(sweep)]) == 1

    lines = capsys.readouterr().err
    assert "scoring the test split of linked (2 of 3)" in lines
    assert f"left out: gone (not scored): cannot be scored: data set {tmp_path / 'nowhere'}" in lines
    assert f"left out: old (not scored): cannot be scored: {sweep / 'old' / 'config.yaml'}: data.source" in lines
    assert "left out: failed (failed): patch does not fit" in lines
    assert "left out: new (unfinished): nothing trained yet" in lines
    assert (elsewhere / "evaluation" / "confusions.json").is_file()
    text = Page(sweep / PAGE).text
    for words in ("1 of 5 jobs with a result", "x=linked", "patch does not fit", "x=failed: no finished job"):
        assert words in text, words
    with (sweep / RESULTS).open() as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((elsewhere / "evaluation" / "metrics.json").read_text())
    assert summary["checkpoint_sha256"] == digest(elsewhere / "checkpoints" / "best.ckpt")
    mean = next(row for row in rows if row["class"] == "mean")
    assert float(mean["dice_mean"]) == pytest.approx(summary["mean"]["dice"], rel=1e-5)
    before = (elsewhere / "evaluation" / "metrics.json").stat().st_mtime_ns
    assert report(sweep).left_out != ()
    assert (elsewhere / "evaluation" / "metrics.json").stat().st_mtime_ns == before
    assert "(1 of 3)" in capsys.readouterr().err


def finished_job(folder: Path) -> None:
    """A finished job whose test split was scored with another checkpoint than it has."""
    write_job(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")


def test_whatever_goes_wrong_with_a_job_goes_wrong_with_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "other", "odd"):
        write_job(tmp_path / name)
    for name in ("memory", "locked"):
        finished_job(tmp_path / name)

    def broken(job: Job) -> None:
        raise MemoryError if job.name == "memory" else PermissionError("no access")

    def read(job: Job) -> Outcome:
        if job.name == "odd":
            raise ZeroDivisionError("by zero")
        return read_outcome(job)

    monkeypatch.setattr(reading, "_score", broken)
    monkeypatch.setattr(reading, "read_outcome", read)
    names = ("good", "other", "odd", "memory", "locked")
    comparison = report(write_sweep(tmp_path, {name: [f"x={name}"] for name in names}))
    assert {e.job.name: e.sentence for e in comparison.left_out} == {
        "odd": "by zero",
        "memory": "cannot be scored: MemoryError",
        "locked": "cannot be scored: no access",
    }
    errors = capsys.readouterr().err
    assert errors.count("Traceback") == 3
    assert "ZeroDivisionError: by zero" in errors


def test_scores_that_cannot_be_traced_to_their_data_are_missing_alone(tmp_path: Path) -> None:
    for name in ("good", "old"):
        write_job(tmp_path / name)
    path = tmp_path / "old" / "evaluation" / "metrics.json"
    write_json(path, json.loads(path.read_text()) | {"dataset_id": "recorded"})  # looked up by a config that lacks keys
    (left,) = report(write_sweep(tmp_path, {"good": ["x=1"], "old": ["x=2"]})).left_out
    assert (left.job.name, left.state) == ("old", "not scored")
    assert "config.yaml: data.source: is missing" in left.sentence


def test_jobs_that_are_one_folder_are_scored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_job(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    scored = []

    def score(job: Job) -> None:
        scored.append(job.name)
        path = job.folder.path / "evaluation" / "metrics.json"
        content = json.loads(path.read_text())
        write_json(path, content | {"checkpoint_sha256": digest(job.folder.best)})

    monkeypatch.setattr(reading, "_score", score)
    assert report(write_sweep(tmp_path, {"a": ["x=1"], "b": ["x=2"]})).left_out == ()
    assert scored == ["a"]
    assert "(1 of 2)" in capsys.readouterr().err


def test_a_damaged_picture_is_left_out(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "levels", pictures=True)
    report(folder)
    assert "The worst test mosaic" in Page(folder / PAGE).text
    for path in folder.glob("*/evaluation/comparisons/*.png"):
        path.write_bytes(b"no picture")
    report(folder)
    assert "The worst test mosaic" not in Page(folder / PAGE).text


def test_tables_are_there_even_if_the_page_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_job(tmp_path / "a")

    def broken(*_: object) -> str:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("rcm_cascade.report.sweep.render_sweep", broken)
    with pytest.raises(RuntimeError, match="no fonts"):
        report(write_sweep(tmp_path, {"a": ["x=1"]}))
    assert all((tmp_path / name).stat().st_size for name in (RESULTS, LEVELS))
    assert not (tmp_path / PAGE).exists()


def test_without_a_record_the_runs_that_lie_there_are_compared(tmp_path: Path) -> None:
    for levels in (3, 2):
        write_job(tmp_path / f"l{levels}", wrong=0.9 / levels)
        write_config(tmp_path / f"l{levels}" / "config.yaml", compose_config([f"model.levels={levels}"]))
    comparison = report(tmp_path, reference="model.levels=3")
    assert [c.label for c in comparison.configurations] == ["model.levels=2", "model.levels=3"]
    assert comparison.number(comparison.configurations[0], "sensitivity").differs is True


def test_a_job_of_other_classes_is_left_out(tmp_path: Path) -> None:
    others = ClassTable(tuple(LabelClass(i, f"c{i}", "#000000") for i in range(6)))
    for name in ("a", "b"):
        write_job(tmp_path / name)
    write_test_result(tmp_path / "b" / "evaluation", 0.3, 0, classes=others)
    comparison = report(write_sweep(tmp_path, {"a": ["x=1"], "b": ["x=2"]}))
    (left,) = comparison.left_out
    assert left.job.name == "b"
    assert "has the classes c0, c1, c2" in left.sentence
    write_test_result(tmp_path / "a" / "evaluation", 0.3, 0, classes=others)
    assert report(tmp_path).classes.names == others.names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere is no folder"),
        (["empty"], "holds neither sweep.json nor run folders"),
        (["unfinished"], "has no job with a result to report; its first, a: nothing trained yet"),
        (["good", "--score", "1.5"], "--score 1.5 is no mean sensitivity"),
        (["good", "--reference", "x=9"], "--reference x=9 names none"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence_and_writes_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_sweep(tmp_path / "unfinished", {"a": ["x=1"]})
    write_job(tmp_path / "good" / "a")
    write_sweep(tmp_path / "good", {"a": ["x=1"]})
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not list(tmp_path.glob("*/report.html"))


def test_the_error_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        report(tmp_path)


def decoded(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


def test_worst_and_best_are_the_references_by_dice_and_predictions_are_label_files(compared: Comparison) -> None:
    worst, best = galleries(compared)
    scores = macro_mean(dice(compared.first.confusions), compared.first.confusions)
    names = compared.first.names
    assert (worst["rank"], worst["mosaic"]) == ("worst", names[int(np.argmin(scores))])
    assert (best["rank"], best["mosaic"]) == ("best", names[int(np.argmax(scores))])
    assert worst["mosaic"] != best["mosaic"]
    assert worst["title"] == f"model.levels=3, seed 0: mean Dice {min(scores):.2f}"
    assert [title.split(",")[0] for title, _ in worst["others"]] == ["model.levels=2", "model.levels=1"]
    number = names.index(worst["mosaic"])
    predicted = predict(number, 0.5 + 0.02 * number, 0)
    expected = colorize(np.kron(predicted, np.ones((4, 4), np.uint8)), RCM_CLASSES)
    np.testing.assert_array_equal(np.asarray(decoded(worst["others"][1][1])), expected)


def test_pictures_that_are_gone_are_left_out(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "levels", pictures=True)
    shutil.rmtree(folder / "model.levels=2,seed=0" / "evaluation" / "predictions")
    comparison = write_report(folder)
    assert [len(g["others"]) for g in galleries(comparison)] == [1, 1]
    shutil.rmtree(folder / "model.levels=3,seed=0" / "evaluation" / "comparisons")
    assert list(galleries(comparison)) == []


def test_wide_pictures_are_shrunk(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decoded(next(galleries(compared))["source"])
    monkeypatch.setattr(reports, "WIDEST", 300)
    shrunk = decoded(next(galleries(compared))["source"])
    assert shrunk.width == 300
    assert shrunk.height == round(whole.height * 300 / whole.width)
