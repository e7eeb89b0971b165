import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.calibration import LogitSample, LogitSampler, fit_temperature, measure_calibration
from rcm_cascade.evaluate.coherence import measure_coherence, pool_coherence
from rcm_cascade.evaluate.confusion import confusion_matrix, dice
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.models.checkpoint import HEADER, digest, load_checkpoint, store_temperature, write_checkpoint
from rcm_cascade.report.pages import evaluate as write_page
from rcm_cascade.runs.data import TrainingData
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.score import evaluate, is_scored, score


@pytest.fixture
def checkpoint(finished_run: Path, tmp_path: Path) -> Path:
    """A copy without a temperature, since scoring may write into it."""
    path = Path(shutil.copy(finished_run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt"))
    store_temperature(path, 1.0)
    return path


def loaded(checkpoint: Path, phantoms: Path) -> TrainingData:
    header, dataset = load_checkpoint(checkpoint).header, read_dataset(phantoms)
    return TrainingData(dataset, header.split, header.working_pixel_size_um, header.normalisation, MosaicCache())


def sampled(checkpoint: Path, mosaics: list[Mosaic]) -> LogitSample:
    samples = []
    for mosaic in mosaics:
        assert mosaic.labels is not None
        sampler = LogitSampler(mosaic.labels, 6)
        Annotator.load(checkpoint).annotate_mosaic(mosaic, observe=sampler.observe)
        samples.append(sampler.sample())
    return LogitSample.join(samples)


def test_the_temperature_is_fitted_on_validation_mosaics_and_used_on_test_mosaics(
    checkpoint: Path, phantoms: Path, tmp_path: Path
) -> None:
    data = loaded(checkpoint, phantoms)
    validation, test = data.open("val"), data.open("test")
    before = score(checkpoint, data, test, tmp_path / "before", part="test")
    assert load_checkpoint(checkpoint).header.temperature == 1.0  # scoring alone stores none
    assert before["calibration"]["ece_at_temperature"] == before["calibration"]["ece"]

    fitted = score(checkpoint, data, validation, tmp_path / "val", part="val", fit_temperature=True)
    after = score(checkpoint, data, test, tmp_path / "after", part="test")

    assert fitted["checkpoint_sha256"] == after["checkpoint_sha256"] == digest(checkpoint)
    assert before["checkpoint_sha256"] != after["checkpoint_sha256"]  # the temperature is written into it
    temperature = fitted["calibration"]["temperature"]
    assert temperature == load_checkpoint(checkpoint).header.temperature == after["calibration"]["temperature"]
    assert temperature == pytest.approx(fit_temperature(sampled(checkpoint, validation)))
    assert abs(temperature - 1) > 0.01
    assert fitted["calibration"]["nll_at_temperature"] < fitted["calibration"]["nll"]
    assert after["calibration"] == measure_calibration(sampled(checkpoint, test), temperature)
    assert after["calibration"]["ece"] == before["calibration"]["ece"] != after["calibration"]["ece_at_temperature"]
    assert after["confusion"] == before["confusion"]
    assert json.loads((tmp_path / "after" / "metrics.json").read_text()) == after


def test_each_levels_own_map_is_scored_in_the_same_pass(
    checkpoint: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = loaded(checkpoint, phantoms)
    mosaics = data.open("test")
    annotated = [Annotator.load(checkpoint).annotate_mosaic(m, levels=True) for m in mosaics]
    passes = []
    once = Annotator.annotate_mosaic

    def counted(self: Annotator, mosaic: Mosaic, **options: object) -> object:
        passes.append(mosaic.name)
        return once(self, mosaic, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Annotator, "annotate_mosaic", counted)
    summary = score(checkpoint, data, mosaics, tmp_path / "out", part="test")

    assert passes == [m.name for m in mosaics]
    truths = [np.asarray(m.native_labels) for m in mosaics]
    assert [(row["level"], row["factor"]) for row in summary["levels"]] == [(1, 4), (2, 2), (3, 1)]
    for i, row in enumerate(summary["levels"]):
        maps = [a.level_map(i) for a in annotated]
        matrix = sum(confusion_matrix(own, truth, 6) for own, truth in zip(maps, truths, strict=True))
        assert isinstance(matrix, np.ndarray)
        found = [np.nan if c["dice"] is None else c["dice"] for c in row["classes"]]
        assert found == pytest.approx(dice(matrix).tolist(), nan_ok=True)
        regions = [
            measure_coherence(own, truth != 255, 6, m.native_pixel_size_um)
            for own, truth, m in zip(maps, truths, mosaics, strict=True)
        ]
        assert row["coherence"] == pool_coherence(regions, RCM_CLASSES.names)
    assert summary["levels"][0]["mean"] != summary["levels"][2]["mean"]
    assert summary["levels"][2]["coherence"] == summary["coherence"]["prediction"]
    names, results = read_results(tmp_path / "out" / "confusions.json")
    assert names == RCM_CLASSES.names
    assert np.sum([r.confusion for r in results], axis=0).tolist() == summary["confusion"]


def test_a_mosaic_of_which_no_patient_is_given_counts_as_one(checkpoint: Path, phantoms: Path, tmp_path: Path) -> None:
    data = loaded(checkpoint, phantoms)
    mosaics = data.open("test")
    assert score(checkpoint, data, mosaics, tmp_path / "a", part="test")["mosaics_without_patient"] == 0
    nameless = replace(data.dataset, entries=tuple(replace(e, patient_given=False) for e in data.dataset.entries))
    summary = score(checkpoint, replace(data, dataset=nameless), mosaics, tmp_path / "b", part="test")
    assert summary["mosaics_without_patient"] == summary["mosaics"] == len(mosaics)
    assert not any(r.patient_given for r in read_results(tmp_path / "b" / "confusions.json")[1])


@pytest.fixture
def own(phantoms: Path, finished_run: Path, tmp_path: Path) -> tuple[Path, RunFolder]:
    """A data set whose files may be changed, and a run on it."""
    root, run = tmp_path / "set", RunFolder(tmp_path / "run")
    for path in phantoms.rglob("*"):
        if path.is_file():
            (root / path.relative_to(phantoms)).parent.mkdir(parents=True, exist_ok=True)
            (root / path.relative_to(phantoms)).write_bytes(path.read_bytes())
    shutil.copytree(finished_run, run.path)
    config = yaml.safe_load(run.config.read_text())
    config["data"] |= {"root": str(root), "cache_dir": str(tmp_path / "cache")}
    run.config.write_text(yaml.safe_dump(config))
    return root, run


def test_scores_of_labels_that_were_overwritten_are_stale(own: tuple[Path, RunFolder]) -> None:
    root, run = own
    before, _, _ = evaluate(run.best, root, "test", None)
    assert is_scored(run)
    split = load_checkpoint(run.best).header.split
    label = next(entry.label for entry in read_dataset(root).entries if split[entry.mosaic] == "test")
    assert label is not None
    pixels = np.asarray(Image.open(label)).copy()
    pixels[: len(pixels) // 2] = 0
    Image.fromarray(pixels).save(label)
    assert not is_scored(run)
    after, _, _ = evaluate(run.best, root, "test", None)
    assert is_scored(run)
    assert after["confusion"] != before["confusion"]
    shutil.rmtree(root)
    assert is_scored(run)


def test_an_evaluation_uses_the_cache_of_the_run(
    own: tuple[Path, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, run = own
    monkeypatch.setenv("RCM_CASCADE_CACHE", str(tmp_path / "not-this-one"))
    evaluate(run.best, root, "test", None)
    assert list((tmp_path / "cache").rglob("*.npy"))
    assert not (tmp_path / "not-this-one").exists()


def rename(root: Path, mosaic: str, name: str) -> str:
    renamed = str(Path(mosaic).with_name(name + Path(mosaic).suffix))
    (root / mosaic).rename(root / renamed)
    manifest = root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(mosaic, renamed))
    return renamed


def mosaics_of(checkpoint: Path, part: str) -> list[str]:
    return [m for m, where in load_checkpoint(checkpoint).header.split.items() if where == part]


def test_renamed_mosaics_keep_their_part_and_this_is_said(
    own: tuple[Path, RunFolder], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root, run = own
    before, _, _ = evaluate(run.best, root, "test", None)
    trained, tested = mosaics_of(run.best, "train"), mosaics_of(run.best, "test")
    first = rename(root, tested[0], "renamed")
    there = rename(root, trained[0], "elsewhere")
    rename(root, trained[1], Path(trained[0]).stem)  # a training mosaic has another's name
    capsys.readouterr()

    after, _, _ = evaluate(run.best, root, "test", None)

    told = capsys.readouterr().err
    assert f"no longer names {min(tested[0], *trained[:2])} (3 in all); each is known by its content" in told
    assert after["confusion"] == before["confusion"]
    assert {r.mosaic for r in read_results(run.path / "evaluation" / "confusions.json")[1]} == {first, *tested[1:]}
    (tmp_path / "split.csv").write_text(f"mosaic,split\n{there},test\n")
    with pytest.raises(InputError, match=rf"test split of .* holds {there}, on which the checkpoint was trained"):
        evaluate(run.best, root, "test", tmp_path / "out", tmp_path / "split.csv")


def test_renamed_mosaics_that_an_older_checkpoint_does_not_know_are_not_left_out_in_silence(
    own: tuple[Path, RunFolder],
) -> None:
    root, run = own
    content = torch.load(run.best, weights_only=True)
    content[HEADER]["contents"] = {}
    write_checkpoint(content, run.best)
    mosaic = mosaics_of(run.best, "test")[0]
    rename(root, mosaic, "renamed")
    with pytest.raises(InputError, match=rf"no longer names {mosaic} \(1 in all\).* --split-file CSV"):
        evaluate(run.best, root, "test", None)


def test_a_training_mosaic_and_its_patient_are_known_in_another_data_set(
    own: tuple[Path, RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = own
    trained, tested = mosaics_of(run.best, "train")[0], mosaics_of(run.best, "test")[0]
    patients = {entry.mosaic: entry.patient for entry in read_dataset(root).entries}
    head = "mosaic,label,patient,split\n"
    settings = (root / "dataset.yaml").read_text()

    def told(name: str, rows: str) -> str:
        (root / "dataset.yaml").write_text(settings.replace("name: phantom", f"name: {name}"))
        (root / "manifest.csv").write_text(head + rows)
        capsys.readouterr()
        evaluate(run.best, root, "test", tmp_path / "out")
        return capsys.readouterr().err

    def row(mosaic: str, patient: str, part: str) -> str:
        return f"{mosaic},{mosaic.replace('mosaics', 'labels').replace('.tif', '.png')},{patient},{part}\n"

    with pytest.raises(InputError, match=rf"holds {trained}, on which the checkpoint was trained"):
        told("clinic", row(trained, "1", "test"))
    words = f"1 mosaics of the test split of {root} are of patients on other mosaics of whom the checkpoint was trained"
    assert words in told("clinic", row(trained, "1", "train") + row(tested, "1", "test"))
    assert words not in told("clinic", row(trained, "1", "train") + row(tested, "2", "test"))
    assert words in told("phantom", row(tested, patients[trained], "test"))
    assert words not in told("clinic", row(tested, patients[trained], "test"))  # another's patient of that name


def test_no_patients_name_is_in_a_checkpoint(finished_run: Path, phantoms: Path) -> None:
    header = load_checkpoint(finished_run / "checkpoints" / "best.ckpt").header
    entries = {entry.mosaic: entry for entry in read_dataset(phantoms).entries}
    assert set(header.patients) == set(header.contents) == set(header.split)
    assert not {entry.patient for entry in entries.values()} & set(header.patients.values())
    for mosaic, content in header.contents.items():
        assert digest(entries[mosaic].image).startswith(content)
        assert len(content) == len(header.patients[mosaic]) == 16


def test_pages_say_that_labels_changed_since_the_training(
    own: tuple[Path, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = own
    words = "phantom; the labels, classes or pixel sizes have changed since"
    write_page(run.best, root, "test", None)
    pages = [run.report, run.path / "evaluation" / "report.html"]
    assert not any(words in page.read_text() for page in pages)
    label = next(e.label for e in read_dataset(root).entries if e.mosaic == mosaics_of(run.best, "train")[0])
    assert label is not None
    pixels = np.asarray(Image.open(label)).copy()
    pixels[: len(pixels) // 2] = 0
    Image.fromarray(pixels).save(label)
    write_page(run.best, root, "test", None)
    assert all(words in page.read_text() for page in pages)
    assert f"was trained on {words}" in capsys.readouterr().err
