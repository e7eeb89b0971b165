import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import read_split
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.confusion import confusion_matrix
from rcm_cascade.evaluate.results import is_evaluation_of
from rcm_cascade.report.pages import evaluate
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.train import train
from tests.running import tiny


def test_the_checkpoints_own_test_split_is_scored_on_the_mosaics_own_grid(
    finished_run: Path, phantoms: Path, tmp_path: Path
) -> None:
    best = finished_run / "checkpoints" / "best.ckpt"
    summary, classes, out = evaluate(best, phantoms, "test", tmp_path / "out")
    assert classes == RCM_CLASSES
    split = read_split(finished_run / "split.csv")
    with (out / "per_mosaic.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["mosaic"] for r in rows} == {m for m, part in split.items() if part == "test"}
    assert summary == json.loads((out / "metrics.json").read_text())

    expected = np.zeros((6, 6), np.int64)
    for entry in read_dataset(phantoms).entries:
        if split[entry.mosaic] == "test":
            annotated = Annotator.load(best).annotate(entry.image)
            assert entry.label is not None
            truth = read_labels(entry.label, classes, (annotated.labels.shape[0], annotated.labels.shape[1]))
            known = truth != 255
            np.add.at(expected, (truth[known], annotated.labels[known]), 1)
    assert np.trace(expected) > 0
    assert summary["confusion"] == expected.tolist()


def test_without_out_the_runs_own_report_is_renewed(finished_run: Path, phantoms: Path) -> None:
    before = (finished_run / "report.html").read_text()
    _, _, out = evaluate(finished_run / "checkpoints" / "best.ckpt", phantoms, "test", None)
    assert out.resolve() == (finished_run / "evaluation").resolve()
    after = (finished_run / "report.html").read_text()
    assert "Evaluation on the test split" in after
    assert "Evaluation on the test split" not in before


def test_a_split_file_overrides(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    mosaic = read_dataset(phantoms).entries[0].mosaic
    other = read_dataset(phantoms).entries[1].mosaic
    (tmp_path / "s.csv").write_text(f"mosaic,split\n{mosaic},test\n{other},train\n")
    summary, _, _ = evaluate(
        finished_run / "checkpoints" / "best.ckpt", phantoms, "test", tmp_path / "o", tmp_path / "s.csv"
    )
    assert summary["mosaics"] == 1


def test_other_classes_are_refused_and_nothing_is_written(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("mosaics", "labels"):
        (other / name).symlink_to(phantoms / name, target_is_directory=True)
    (other / "manifest.csv").write_text((phantoms / "manifest.csv").read_text())
    (other / "dataset.yaml").write_text((phantoms / "dataset.yaml").read_text().replace("meshwork", "network"))
    with pytest.raises(InputError, match="network"):
        evaluate(finished_run / "checkpoints" / "best.ckpt", other, "train", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_runs_own_evaluation_is_for_its_own_test_split(finished_run: Path, phantoms: Path) -> None:
    with pytest.raises(InputError, match="--out DIR"):
        evaluate(finished_run / "checkpoints" / "best.ckpt", phantoms, "val", None)


def test_a_split_without_mosaics_is_said_first(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(f"mosaic,split\n{next(iter(read_split(finished_run / 'split.csv')))},train\n")
    with pytest.raises(InputError, match="test") as caught:
        evaluate(finished_run / "checkpoints" / "best.ckpt", phantoms, "test", None, tmp_path / "s.csv")
    assert "--out" not in str(caught.value)


def test_where_nothing_can_be_written_is_said_first(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"out is a file"):
        evaluate(finished_run / "checkpoints" / "best.ckpt", phantoms, "test", tmp_path / "out")


def test_a_manifest_edited_since_does_not_turn_training_mosaics_into_test(
    finished_run: Path, phantoms: Path, tmp_path: Path
) -> None:
    edited = tmp_path / "edited"
    edited.mkdir()
    for name in ("mosaics", "labels"):
        (edited / name).symlink_to(phantoms / name, target_is_directory=True)
    (edited / "dataset.yaml").write_text((phantoms / "dataset.yaml").read_text())
    lines = (phantoms / "manifest.csv").read_text().splitlines()
    columns = lines[0].split(",")
    trained = [m for m, part in read_split(finished_run / "split.csv").items() if part == "train"]
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    for row in rows:
        row["split"] = "test" if row["mosaic"] == trained[0] else "train"
    written = [lines[0], *(",".join(row[c] for c in columns) for row in rows)]
    (edited / "manifest.csv").write_text("\n".join(written) + "\n")
    best = finished_run / "checkpoints" / "best.ckpt"
    summary, _, _ = evaluate(best, edited, "test", tmp_path / "own")  # the same mosaics: the checkpoint's split counts
    assert summary["mosaics"] == 2
    dropped = next(line for line in written[1:] if line.split(",")[0] not in trained)
    (edited / "manifest.csv").write_text("\n".join(line for line in written if line != dropped) + "\n")
    with pytest.raises(InputError, match="on which the checkpoint was trained"):
        evaluate(best, edited, "test", tmp_path / "out")


def test_evaluate_and_annotate_see_the_same_grey_levels_without_normalisation(phantoms: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(compose_config(tiny(phantoms, "data.normalisation=none")), run)
    best = run / "checkpoints" / "best.ckpt"
    summary, classes, _ = evaluate(best, phantoms, "test", tmp_path / "out")
    split = read_split(run / "split.csv")
    total = np.zeros((6, 6), np.int64)
    for entry in read_dataset(phantoms).entries:
        if split[entry.mosaic] == "test":
            labels = Annotator.load(best).annotate(entry.image).labels
            assert entry.label is not None
            truth = read_labels(entry.label, classes, (labels.shape[0], labels.shape[1]))
            total += confusion_matrix(labels, truth, 6)
    assert summary["confusion"] == total.tolist()


def test_the_runs_own_evaluation_is_of_the_best_checkpoint_of_a_finished_run(
    finished_run: Path, phantoms: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("evaluation"))
    best, last = (run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    for out in (None, run / "evaluation"):
        with pytest.raises(InputError, match=r"is for .*best\.ckpt of the finished run .* what .*last\.ckpt comes"):
            evaluate(last, phantoms, "test", out)
    assert not (run / "evaluation").exists()
    page = (run / "report.html").read_text()
    evaluate(last, phantoms, "test", run / "evaluation-last")
    assert (run / "report.html").read_text() == page
    (run / "result.json").unlink()
    with pytest.raises(InputError, match="say where to write"):
        evaluate(best, phantoms, "test", None)


def test_metrics_json_says_of_which_checkpoint_it_is(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    best = finished_run / "checkpoints" / "best.ckpt"
    _, _, out = evaluate(best, phantoms, "test", tmp_path / "out")
    recorded = json.loads((out / "metrics.json").read_text())["checkpoint_sha256"]
    assert recorded == hashlib.sha256(best.read_bytes()).hexdigest()
    assert is_evaluation_of(out, best)
    assert not is_evaluation_of(out, finished_run / "checkpoints" / "last.ckpt")
