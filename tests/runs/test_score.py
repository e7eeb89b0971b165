import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
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
from rcm_cascade.models.checkpoint import digest, load_checkpoint, store_temperature
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


def test_renamed_mosaics_are_not_left_out_in_silence(own: tuple[Path, RunFolder]) -> None:
    root, run = own
    mosaic = next(m for m, part in load_checkpoint(run.best).header.split.items() if part == "test")
    manifest = root / "manifest.csv"
    renamed = str(Path(mosaic).with_name("renamed" + Path(mosaic).suffix))
    (root / mosaic).rename(root / renamed)
    manifest.write_text(manifest.read_text().replace(mosaic, renamed))
    with pytest.raises(InputError, match=rf"no longer names {mosaic} \(1 in all\).* --split-file CSV"):
        evaluate(run.best, root, "test", None)
