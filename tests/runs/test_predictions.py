"""Label maps of others: the same numbers as of a checkpoint that gave them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.cli import main
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import read_header
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs.predictions import compare_readers, score_predictions


@pytest.fixture(scope="module")
def evaluated(finished_run: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of a checkpoint on every labelled mosaic that it was not trained on."""
    out = tmp_path_factory.mktemp("evaluated")
    checkpoint = finished_run / "checkpoints" / "best.ckpt"
    split = read_header(checkpoint).split
    rows = [f"{mosaic},test" for mosaic, part in split.items() if part != "train"]
    (out / "split.csv").write_text("mosaic,split\n" + "\n".join(rows) + "\n")
    words = ["evaluate", str(checkpoint), "--data", str(phantoms), "--out", str(out / "ours")]
    assert main([*words, "--split-file", str(out / "split.csv")]) == 0
    return out


def test_our_own_maps_give_our_own_numbers(evaluated: Path, phantoms: Path, tmp_path: Path) -> None:
    maps = evaluated / "ours" / "predictions"

    found, _ = score_predictions(maps, phantoms, "test", tmp_path, evaluated / "split.csv", evaluated / "ours")

    ours = json.loads((evaluated / "ours" / "metrics.json").read_text())
    for key in ("classes", "mean", "confusion", "pixel_accuracy", "coherence", "patients"):
        assert found[key] == ours[key]
    assert all(each["difference"] == 0 for each in found["paired"].values())
    assert "mean sensitivity less ours" in found["facts"]
    assert (tmp_path / "confusions.json").exists()


def test_the_truth_is_right_everywhere_and_costs_nothing(evaluated: Path, phantoms: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for entry in read_dataset(phantoms).entries:
        if entry.label is not None:
            shutil.copy(entry.label, maps / f"{entry.image.stem}{entry.label.suffix}")
    (tmp_path / "costs.yaml").write_text("nested: {non-lesion: 5}\n")
    words = ["evaluate", "--predictions", str(maps), "--data", str(phantoms), "--out", str(tmp_path / "out")]
    words += ["--split-file", str(evaluated / "split.csv"), "--costs", str(tmp_path / "costs.yaml")]

    assert main(words) == 0

    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["pixel_accuracy"] == 1
    assert found["costs"]["mean"]["cost"] == 0
    assert found["costs"]["matrix"][4][0] == 5
    page = (tmp_path / "out" / "report.html").read_text()
    assert "cost a pixel, all classes" in page
    assert "Label maps:" in page


def test_readers_agree_with_themselves_and_less_with_others(evaluated: Path, phantoms: Path, tmp_path: Path) -> None:
    for name in ("anna", "ben"):
        shutil.copytree(evaluated / "ours" / "predictions", tmp_path / name)
    for path in sorted((tmp_path / "ben").iterdir()):
        labels = np.asarray(Image.open(path)).copy()
        labels[:, :20], labels[:, 20:40] = 3, 4
        save_png(labels, tmp_path / "anna" / path.name)
        labels[::2] = 255  # every other row was not labelled
        save_png(labels, path)
    readers = [tmp_path / "anna", tmp_path / "ben"]

    found = compare_readers(readers, phantoms, "test", tmp_path / "out", evaluated / "split.csv")

    assert found["readers"] == ["labels", "anna", "ben"]
    kappas = {tuple(pair["readers"]): pair["cohen"][-1]["kappa"] for pair in found["pairs"]}
    assert kappas["anna", "ben"] == 1
    assert kappas["labels", "anna"] < 0.9
    assert json.loads((tmp_path / "out" / "agreement.json").read_text()) == found
    words = ["evaluate", "--data", str(phantoms), "--out", str(tmp_path / "again")]
    words += ["--split-file", str(evaluated / "split.csv")]
    assert main([*words, *(word for reader in readers for word in ("--readers", str(reader)))]) == 0


def test_maps_that_are_missing_or_do_not_fit_are_one_sentence(evaluated: Path, phantoms: Path, tmp_path: Path) -> None:
    split, maps = evaluated / "split.csv", tmp_path / "maps"
    with pytest.raises(InputError, match="is no folder"):
        score_predictions(maps, phantoms, "test", tmp_path / "out", split)
    shutil.copytree(evaluated / "ours" / "predictions", maps)
    first = sorted(maps.iterdir())[0]
    labels = np.asarray(Image.open(first))
    for match, value in (("leaves .* labelled px without a class, the first at", 255), ("holds|has", 9)):
        changed = labels.copy()
        changed[10:60, 10:60] = value
        save_png(changed, first)
        with pytest.raises(InputError, match=match):
            score_predictions(maps, phantoms, "test", tmp_path / "out", split)
    save_png(labels[:-1], first)
    with pytest.raises(InputError, match=str(labels.shape[0])):
        score_predictions(maps, phantoms, "test", tmp_path / "out", split)
    first.unlink()
    with pytest.raises(InputError, match="has no map of"):
        score_predictions(maps, phantoms, "test", tmp_path / "out", split)
    assert not (tmp_path / "out").exists()
    twice = tmp_path / "a" / "maps"
    twice.mkdir(parents=True)
    with pytest.raises(InputError, match="have one name"):
        compare_readers([maps, twice], phantoms, "test", tmp_path / "out", split)


@pytest.mark.parametrize(
    ("words", "match"),
    [([], "nothing to evaluate"), (["--predictions", "x"], "--out DIR"), (["--readers", "x"], "--out DIR")],
)
def test_what_is_to_be_done_must_be_said(
    words: list[str], match: str, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(phantoms), *words]) == 2
    assert match in capsys.readouterr().err
