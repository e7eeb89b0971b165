import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.configurations import group_jobs
from rcm_cascade.report.outcomes import METRICS, REGION_NUMBERS, Outcome, read_outcome
from rcm_cascade.report.results import default_score, describe_seeds, describe_tested, summarise_configuration
from rcm_cascade.report.spread import Spread
from rcm_cascade.runs.jobs import read_sweep
from tests.report.making import write_job, write_sweep


def test_numbers_are_means_over_seeds_of_pooled_results(compared: Comparison, sweep_folder: Path) -> None:
    for result in compared.configurations:
        summaries = [
            json.loads((sweep_folder / o.job.name / "evaluation" / "metrics.json").read_text()) for o in result.outcomes
        ]
        assert len(summaries) == 3
        for metric in METRICS:
            for i in range(6):
                of_seeds = [s["classes"][i][metric] for s in summaries]
                assert result.numbers[metric][i].mean == pytest.approx(np.mean(of_seeds))
            means = [s["mean"][metric] for s in summaries]
            assert result.numbers[metric][-1].mean == pytest.approx(np.mean(means))
            assert result.numbers[metric][-1].sd == pytest.approx(np.std(means, ddof=1))
        for key in REGION_NUMBERS:
            own = [s["coherence"]["prediction"][key] for s in summaries]
            assert result.regions[key].mean == pytest.approx(np.mean(own))
        mean = np.mean([s["confusion"] for s in summaries], axis=0)
        assert np.abs(result.confusion - mean).max() <= 0.5
        assert result.confusion.sum() == pytest.approx(np.sum(summaries[0]["confusion"]), abs=18)


def test_differences_are_those_of_the_means_and_tell_the_worse_one(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    assert reference is compared.reference
    assert reference.differences == {}
    assert reference.region_differences == {}
    for metric in METRICS:
        for i in range(7):
            for result in (same, worse):
                own, theirs = result.numbers[metric][i].mean, reference.numbers[metric][i].mean
                assert own is not None
                assert theirs is not None
                assert result.differences[metric][i].value == pytest.approx(own - theirs)
        assert worse.differences[metric][-1].told is True
        assert (worse.differences[metric][-1].value or 0) < -0.02
    assert same.differences["sensitivity"][-1].told is False
    more = worse.region_differences["regions_per_area"]
    assert more.told is True
    assert (more.value or 0) > 0


def test_times_to_a_score_are_of_the_seeds_that_reach_it(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    assert compared.score == pytest.approx(0.9 * np.mean([0.70, 0.71, 0.72]))
    assert reference.seconds_to_score == Spread(300.0, 0.0, 3)
    assert reference.epochs_to_score.mean == 5
    assert same.seconds_to_score.n == 3
    assert worse.seconds_to_score == Spread(None, None, 0)
    assert worse.train_seconds.mean == pytest.approx(180)
    assert reference.train_seconds.mean == pytest.approx(360)


def test_levels_are_compared_with_the_next_coarser(compared: Comparison) -> None:
    coarse, fine = compared.reference.levels
    assert (coarse.level, coarse.factor, fine.level, fine.factor) == (1, 2, 2, 1)
    assert coarse.differences == {}
    for metric in METRICS:
        assert fine.means[metric] == compared.reference.numbers[metric][-1]
        difference = fine.differences[metric]
        assert difference.value == pytest.approx((fine.means[metric].mean or 0) - (coarse.means[metric].mean or 0))
    assert fine.differences["dice"].told is True
    assert (fine.regions_per_area.mean or 0) > (coarse.regions_per_area.mean or 0)


def test_gradients_are_geometric_means_over_seeds(compared: Comparison) -> None:
    early, whole = compared.reference.gradients[1, "encoder1"]
    assert early == pytest.approx(0.15, rel=1e-4)
    assert whole == pytest.approx(0.15, rel=1e-4)


def outcomes_of(path: Path, *names: str) -> list[Outcome]:
    return [read_outcome(job) for job in read_sweep(write_sweep(path, {name: [f"x={name}"] for name in names})).jobs]


def test_results_on_other_mosaics_are_shown_but_not_compared(tmp_path: Path) -> None:
    write_job(tmp_path / "a")
    write_job(tmp_path / "b", mosaics=range(1, 8))
    a, b = outcomes_of(tmp_path, "a", "b")
    configuration = group_jobs(read_sweep(tmp_path))[1]
    result = summarise_configuration(configuration, [b], [a], None)
    assert "not all of its jobs and the reference's were tested on the same labelled mosaics" in result.remark
    assert result.differences == {}
    assert result.numbers["dice"][-1].mean is not None
    assert result.seconds_to_score.n == 0
    assert result.seeds_compared == 0
    assert describe_tested([a, b]) == "8 test mosaics of 7 patients or 7 test mosaics of 6 patients"


def test_a_reference_whose_jobs_were_tested_on_different_mosaics_has_a_remark(tmp_path: Path) -> None:
    write_job(tmp_path / "a")
    write_job(tmp_path / "b", mosaics=range(1, 8))
    outcomes = outcomes_of(tmp_path, "a", "b")
    configuration = group_jobs(read_sweep(tmp_path))[0]
    assert "not all tested on the same" in summarise_configuration(configuration, outcomes, outcomes, None).remark
    assert summarise_configuration(configuration, outcomes[:1], outcomes[:1], None).remark == ""


def test_seeds_compared_are_those_of_both_sides(compared: Comparison) -> None:
    reference, same, _ = compared.configurations
    assert [c.seeds_compared for c in compared.configurations] == [0, 3, 3]
    later = summarise_configuration(same.configuration, same.outcomes, reference.outcomes[2:], None)
    assert later.seeds_compared == 1
    assert len(later.outcomes) == 3


def test_an_error_at_a_temperature_that_was_not_fitted_is_none(compared: Comparison) -> None:
    reference, same, _ = compared.configurations

    def at(temperature: float) -> Spread:
        calibration = {"temperature": temperature, "ece": 0.1, "ece_at_temperature": 0.05}
        outcomes = [replace(o, metrics=dict(o.metrics) | {"calibration": calibration}) for o in same.outcomes]
        result = summarise_configuration(same.configuration, outcomes, reference.outcomes, None)
        assert result.calibration_error.mean == pytest.approx(0.1)
        return result.calibrated_error

    assert at(1.0) == Spread(None, None, 0)
    assert at(1.5).mean == pytest.approx(0.05)


def test_without_recorded_levels_and_regions_the_rest_stands(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_job(tmp_path / name, wrong=0.2)
        path = tmp_path / name / "evaluation"
        confusions = json.loads((path / "confusions.json").read_text())
        for mosaic in confusions["mosaics"]:
            del mosaic["levels"]
            mosaic["coherence"] = {"prediction": None, "truth": None}
        (path / "confusions.json").write_text(json.dumps(confusions))
        metrics = json.loads((path / "metrics.json").read_text())
        metrics["coherence"] = {"prediction": None, "truth": None}
        (path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "b" / "metrics.csv").unlink()
    a, b = outcomes_of(tmp_path, "a", "b")
    configuration = group_jobs(read_sweep(tmp_path))[1]
    result = summarise_configuration(configuration, [b], [a], 0.5)
    assert result.differences["dice"][-1].told is False
    assert result.region_differences == {}
    assert result.regions["regions_per_area"].n == 0
    assert [level.differences for level in result.levels] == [{}, {}]
    assert result.levels[1].means["dice"].mean is not None
    assert result.train_seconds.n == 0
    assert default_score([b]) is None


def test_seeds_are_described(compared: Comparison) -> None:
    a, b = compared.configurations[0].outcomes, compared.configurations[1].outcomes
    assert describe_seeds(a, b) == "3 seeds, each with itself"
    assert describe_seeds(a[:1], b) == "one seed, which is not drawn"
    assert describe_seeds(a[:1], b[1:]) == "seeds 0 against 1, 2"
