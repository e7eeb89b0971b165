import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.bootstrap import pool_by_patient
from rcm_cascade.evaluate.coherence import REGION_NUMBERS, region_numbers
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.runs.jobs import Job, read_sweep
from rcm_cascade.runs.score import is_scored
from tests.report.factories import write_job, write_sweep, write_test_result


def only_job(path: Path) -> Job:
    return read_sweep(write_sweep(path, {"a": ["seed=0"]})).jobs[0]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_job(tmp_path / "a", wrong=0.4)
    return only_job(tmp_path)


def test_its_numbers_are_those_of_metrics_json(job: Job) -> None:
    outcome = read_outcome(job)
    total = outcome.confusions.sum(axis=0)
    for metric in METRICS:
        recorded = [c[metric] for c in outcome.metrics["classes"]] + [outcome.metrics["mean"][metric]]
        np.testing.assert_allclose(METRICS[metric].with_mean(total), recorded)
    assert outcome.regions is not None
    pooled = outcome.metrics["coherence"]["prediction"]
    assert pooled["small_regions_share"] > 0.1
    np.testing.assert_allclose(region_numbers(outcome.regions.sum(axis=0)), [pooled[key] for key in REGION_NUMBERS])
    assert outcome.levels is not None
    for i, level in enumerate(outcome.metrics["levels"]):
        own = METRICS["dice"].with_mean(outcome.levels[:, i].sum(axis=0))
        assert own[-1] == pytest.approx(level["mean"]["dice"])
    assert outcome.history[-1]["val/mean_sensitivity"] == pytest.approx(0.7)


def test_mosaics_of_a_patient_are_summed(job: Job) -> None:
    outcome = read_outcome(job)
    patients = [m.patient for m in outcome.mosaics]
    assert outcome.patients == 7
    assert len(patients) == 8
    pooled = outcome.by_patient(outcome.confusions)
    np.testing.assert_array_equal(pooled, pool_by_patient(list(outcome.confusions), patients))
    assert outcome.regions is not None
    regions = outcome.by_patient(outcome.regions)
    np.testing.assert_allclose(regions[-1], outcome.regions[-2:].sum(axis=0))
    assert regions.dtype == np.float64
    assert outcome.holding == (7,) * 6
    assert outcome.nameless == 0


def test_what_was_tested_is_told_by_mosaic_patient_and_labels(tmp_path: Path, job: Job) -> None:
    tested = read_outcome(job).tested
    write_job(tmp_path / "better", wrong=0.1)
    write_job(tmp_path / "fewer", mosaics=range(7))
    sweep = read_sweep(write_sweep(tmp_path, {"better": [], "fewer": []}))
    better, fewer = (read_outcome(j).tested for j in sweep.jobs)
    assert better == tested
    assert fewer < tested
    path = job.folder.path / "evaluation" / "confusions.json"
    content = json.loads(path.read_text())
    content["mosaics"][0]["confusion"][0][0] += 1
    path.write_text(json.dumps(content))
    assert read_outcome(job).tested != tested


def test_evaluations_without_levels_and_regions_are_read(tmp_path: Path) -> None:
    write_job(tmp_path / "a")
    write_test_result(tmp_path / "a" / "evaluation", 0.2, 0, levels=False)
    path = tmp_path / "a" / "evaluation" / "confusions.json"
    content = json.loads(path.read_text())
    for mosaic in content["mosaics"]:
        mosaic["coherence"] = {"prediction": None, "truth": None}
    path.write_text(json.dumps(content))
    outcome = read_outcome(only_job(tmp_path))
    assert outcome.levels is None
    assert outcome.regions is None


def test_mosaics_without_a_pixel_size_count_no_regions_beside_those_with_one(job: Job) -> None:
    path = job.folder.path / "evaluation" / "confusions.json"
    content = json.loads(path.read_text())
    content["mosaics"][0]["pixel_size_um"] = None
    path.write_text(json.dumps(content))
    regions = read_outcome(job).regions
    assert regions is not None
    assert (regions[0] == 0).all()
    assert (regions[1:, 0] > 0).all()
    assert regions[1, 2] == pytest.approx(np.sum(content["mosaics"][1]["confusion"]) * 4e-4)


def test_an_undefined_region_number_is_nan() -> None:
    np.testing.assert_array_equal(region_numbers(np.zeros(4)), [np.nan] * 3)
    np.testing.assert_array_equal(region_numbers(np.array([4.0, 1.0, 2.0, 0.5])), [2.0, 0.25, 0.25])


def test_a_job_is_evaluated_when_both_files_are_there_and_of_its_checkpoint(job: Job) -> None:
    assert is_scored(job.folder)
    job.folder.best.parent.mkdir()
    job.folder.best.write_bytes(b"weights")
    assert not is_scored(job.folder)
    metrics = job.folder.path / "evaluation" / "metrics.json"
    content = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(content | {"checkpoint_sha256": hashlib.sha256(b"weights").hexdigest()}))
    assert is_scored(job.folder)
    (job.folder.path / "evaluation" / "confusions.json").unlink()
    assert not is_scored(job.folder)


@pytest.mark.parametrize("name", ["confusions.json", "metrics.json"])
def test_a_damaged_file_is_named(job: Job, name: str) -> None:
    (job.folder.path / "evaluation" / name).write_text("{")
    with pytest.raises(InputError, match=name):
        read_outcome(job)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"levels": [{"level": 1, "factor": 2}]},
        {"levels": 3},
        {"coherence": {"prediction": {"unit": "mm2"}}},
        {"coherence": [1]},
        {"calibration": {"ece": "small"}},
    ],
)
def test_numbers_of_another_form_are_one_sentence(job: Job, wrong: object) -> None:
    path = job.folder.path / "evaluation" / "metrics.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | wrong if isinstance(wrong, dict) else wrong))
    with pytest.raises(InputError, match=r"metrics\.json, .* cannot be read \((Key|Type|Attribute|Value)Error"):
        read_outcome(job)


def test_a_result_of_another_form_is_one_sentence(job: Job) -> None:
    job.folder.result.write_text("[]")
    with pytest.raises(InputError, match=r"result\.json"):
        read_outcome(job)


def test_a_history_of_another_form_is_one_sentence(job: Job) -> None:
    job.folder.metrics.write_text("epoch,step\n1,2,3\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_outcome(job)


def test_an_evaluation_of_nothing_is_refused(job: Job) -> None:
    path = job.folder.path / "evaluation" / "confusions.json"
    path.write_text(json.dumps({"classes": ["a"], "mosaics": []}))
    with pytest.raises(InputError, match="holds no mosaic"):
        read_outcome(job)
