import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.coherence import REGION_NUMBERS
from rcm_cascade.evaluate.confusion import dice
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.compare import (
    Comparison,
    Configuration,
    compare_configurations,
    default_score,
    find_configuration,
    group_jobs,
    set_against,
)
from rcm_cascade.report.outcomes import ALL, COLUMNS, MEAN, Number, Outcome, long_table, over_seeds
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.report.sweep import result_table, to_csv
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.jobs import Job, State, Sweep, read_sweep
from tests.report.factories import write_job, write_sweep


def job(name: str, *overrides: str, seed: int = 0, state: State = "finished") -> Job:
    return Job(name, RunFolder(Path(name)), overrides, seed, state, "")


def sweep(*jobs: Job) -> Sweep:
    return Sweep(Path("s"), "s", jobs)


def names(configurations: list[Configuration]) -> dict[str, list[str]]:
    return {c.label: [j.name for j in c.jobs] for c in configurations}


def test_seed_and_what_all_share_make_no_configuration() -> None:
    jobs = [
        job("a1", "+experiment=x", "model=cascade", "seed=1", "run=a", "logger=csv", seed=1),
        job("b0", "+experiment=x", "model=ensemble", "seed=0", "hydra.verbose=true"),
        job("a0", "+experiment=x", "model=cascade", "+seed=0", "logger.group=g"),
    ]
    assert names(group_jobs(sweep(*jobs))) == {"model=cascade": ["a0", "a1"], "model=ensemble": ["b0"]}


def test_a_job_that_overrides_nothing_of_its_own_is_the_default() -> None:
    jobs = [job("a", "x=1", "seed=0"), job("b", "x=1", "model.levels=2", "model.prior=logits")]
    assert names(group_jobs(sweep(*jobs))) == {"default": ["a"], "model.levels=2, model.prior=logits": ["b"]}
    assert names(group_jobs(sweep(jobs[1]))) == {"default": ["b"]}


def test_overrides_in_another_order_are_the_same_configuration() -> None:
    jobs = [job("a", "x=1", "y=2", "seed=0"), job("b", "y=2", "x=1", "seed=1", seed=1), job("c", "z=3")]
    assert names(group_jobs(sweep(*jobs))) == {"x=1, y=2": ["a", "b"], "z=3": ["c"]}


def test_of_two_jobs_of_one_seed_the_finished_one_counts() -> None:
    jobs = [job("a", "x=1", state="failed"), job("b", "x=1"), job("c", "x=1"), job("d", "x=2")]
    assert names(group_jobs(sweep(*jobs))) == {"x=1": ["b"], "x=2": ["d"]}


def test_a_configuration_is_found_by_its_label_or_a_part_that_it_alone_has() -> None:
    made = [Configuration(label, (job("j"),)) for label in ("m=1", "m=1, p=2", "m=3, p=4")]
    assert find_configuration(made, "m=1") is made[0]
    assert find_configuration(made, "m=3") is made[2]
    assert find_configuration(made, "p=2") is made[1]
    with pytest.raises(InputError, match=r"more than one .* 'm=1'; 'm=1, p=2'; 'm=3, p=4'"):
        find_configuration(made, "p=")
    with pytest.raises(InputError, match="names none"):
        find_configuration(made, "q")


@pytest.fixture(scope="module")
def read(sweep_folder: Path) -> tuple[Sweep, dict[str, Outcome]]:
    sweep = read_sweep(sweep_folder)
    return sweep, {job.name: read_outcome(job) for job in sweep.jobs}


def test_the_first_configuration_is_the_reference(compared: Comparison) -> None:
    assert compared.reference.label == "model.levels=3"
    assert [c.label for c in compared.configurations] == ["model.levels=3", "model.levels=2", "model.levels=1"]
    assert [c.label for c in compared.compared] == ["model.levels=2", "model.levels=1"]
    assert (len(compared.first.mosaics), compared.first.patients, compared.synthetic) == (8, 7, True)
    assert compared.reference.tested == "8 test mosaics of 7 patients"
    assert compared.left_out == ()
    assert compared.missing == ()


def test_another_reference_and_score_are_taken(read: tuple[Sweep, dict[str, Outcome]]) -> None:
    comparison = compare_configurations(*read, {}, RCM_CLASSES, reference="levels=1", score=0.35)
    assert comparison.reference.label == "model.levels=1"
    assert comparison.score == 0.35
    assert all(comparison.number(c, "time_to_score_s", ALL).n == 3 for c in comparison.configurations)
    better = comparison.number(comparison.configurations[0], "sensitivity")
    assert better.differs is True
    assert (better.difference or 0) > 0


def test_the_order_of_jobs_changes_no_number(read: tuple[Sweep, dict[str, Outcome]], compared: Comparison) -> None:
    sweep, outcomes = read
    turned = Sweep(sweep.path, sweep.name, sweep.jobs[::-1])
    other = compare_configurations(turned, outcomes, {}, RCM_CLASSES, reference="model.levels=3")
    rows, expected = (to_csv(result_table(c)).splitlines() for c in (other, compared))
    assert rows != expected
    assert sorted(rows) == sorted(expected)


def test_jobs_without_a_result_are_told_with_their_configuration(read: tuple[Sweep, dict[str, Outcome]]) -> None:
    sweep, outcomes = read
    gone = [name for name in outcomes if name == "model.levels=2,seed=1" or name.startswith("model.levels=3")]
    kept = {name: outcome for name, outcome in outcomes.items() if name not in gone}
    failures = {"model.levels=2,seed=1": "its data is gone"}
    comparison = compare_configurations(sweep, kept, failures, RCM_CLASSES)
    assert comparison.reference.label == "model.levels=2"
    assert comparison.missing == ("model.levels=3",)
    told = [(e.job.name, e.configuration, e.state, e.sentence) for e in comparison.left_out]
    assert told[-1] == ("model.levels=2,seed=1", "model.levels=2", "not scored", "its data is gone")
    assert len(told) == 4
    with pytest.raises(InputError, match=r"no finished job; name one of 'model\.levels=2'; 'model\.levels=1'"):
        compare_configurations(sweep, kept, failures, RCM_CLASSES, reference="model.levels=3")


def test_numbers_are_means_over_seeds_of_pooled_results(compared: Comparison, sweep_folder: Path) -> None:
    for result in compared.configurations:
        summaries = [
            json.loads((sweep_folder / o.job.name / "evaluation" / "metrics.json").read_text()) for o in result.outcomes
        ]
        assert len(summaries) == 3
        for metric in METRICS:
            for i in range(6):
                of_seeds = [s["classes"][i][metric] for s in summaries]
                assert compared.number(result, metric, compared.classes.names[i]).mean == pytest.approx(
                    np.mean(of_seeds)
                )
            means = [s["mean"][metric] for s in summaries]
            assert compared.number(result, metric).mean == pytest.approx(np.mean(means))
            assert compared.number(result, metric).sd == pytest.approx(np.std(means, ddof=1))
        for key in REGION_NUMBERS:
            own = [s["coherence"]["prediction"][key] for s in summaries]
            assert compared.number(result, key, ALL).mean == pytest.approx(np.mean(own))
        mean = np.mean([s["confusion"] for s in summaries], axis=0)
        assert np.abs(result.confusion - mean).max() <= 0.5
        assert result.confusion.sum() == pytest.approx(np.sum(summaries[0]["confusion"]), abs=18)


def test_differences_are_those_of_the_means_and_tell_the_worse_one(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    assert reference is compared.reference
    own = compared.numbers.loc[reference.label].loc[0]
    assert own[["difference", "low", "differs"]].isna().to_numpy().all()
    for metric in METRICS:
        for name in (*compared.classes.names, MEAN):
            for result in (same, worse):
                ours, theirs = compared.number(result, metric, name), compared.number(reference, metric, name)
                assert ours.mean is not None
                assert theirs.mean is not None
                assert difference(compared, result, metric, name).difference == pytest.approx(ours.mean - theirs.mean)
        assert difference(compared, worse, metric).differs is True
        assert (difference(compared, worse, metric).difference or 0) < -0.02
    assert difference(compared, same, "sensitivity").differs is False
    more = difference(compared, worse, "regions_per_area", ALL)
    assert more.differs is True
    assert (more.difference or 0) > 0


def difference(comparison: Comparison, result: Configuration, metric: str, name: str = MEAN) -> Number:
    found = comparison.number(result, metric, name)
    assert found.difference is not None
    return found


def test_times_to_a_score_are_of_the_seeds_that_reach_it(compared: Comparison) -> None:
    reference, same, worse = compared.configurations
    assert compared.score == pytest.approx(0.9 * np.mean([0.70, 0.71, 0.72]))
    assert compared.number(reference, "time_to_score_s", ALL) == Number(300.0, 0.0, 3)
    assert compared.number(reference, "epochs_to_score", ALL).mean == 5
    assert compared.number(same, "time_to_score_s", ALL).n == 3
    assert compared.number(worse, "time_to_score_s", ALL) == Number(None, None, 0)
    assert compared.number(worse, "train_seconds", ALL).mean == pytest.approx(180)
    assert compared.number(reference, "train_seconds", ALL).mean == pytest.approx(360)


def test_levels_are_compared_with_the_next_coarser(compared: Comparison) -> None:
    reference = compared.reference
    assert reference.levels == ((1, 2), (2, 1))
    for metric in METRICS:
        coarse, fine = (compared.number(reference, metric, MEAN, level) for level in (1, 2))
        assert coarse.difference is None
        assert fine.difference is not None
        assert fine[:3] == compared.number(reference, metric)[:3]
        assert fine.difference == pytest.approx((fine.mean or 0) - (coarse.mean or 0))
        assert fine.differs is True or metric != "dice"
    coarse, fine = (compared.number(reference, "regions_per_area", ALL, level) for level in (1, 2))
    assert (fine.mean or 0) > (coarse.mean or 0)


def test_gradients_are_geometric_means_over_seeds(compared: Comparison) -> None:
    early, whole = compared.gradients.loc["model.levels=3"].loc[1].to_numpy()[1]
    assert early == pytest.approx(0.15, rel=1e-4)
    assert whole == pytest.approx(0.15, rel=1e-4)


def comparison_of(path: Path, *names: str, score: float | None = None) -> Comparison:
    """Of jobs that are a configuration each, the first being the reference."""
    sweep = read_sweep(write_sweep(path, {name: [f"x={name}"] for name in names}))
    outcomes = {job.name: read_outcome(job) for job in sweep.jobs}
    return compare_configurations(sweep, outcomes, {}, RCM_CLASSES, score=score)


def test_results_on_other_mosaics_are_shown_but_not_compared(tmp_path: Path) -> None:
    write_job(tmp_path / "a")
    write_job(tmp_path / "b", mosaics=range(1, 8))
    comparison = comparison_of(tmp_path, "a", "b", score=0.99)
    result = comparison.configurations[1]
    assert "not all of its jobs and the reference's were tested on the same labelled mosaics" in result.remark
    assert comparison.number(result, "dice").difference is None
    assert comparison.number(result, "dice").mean is not None
    assert comparison.number(result, "time_to_score_s", ALL).n == 0
    assert result.seeds_compared == 0
    both = replace(result, outcomes=(*comparison.reference.outcomes, *result.outcomes))
    assert both.tested == "8 test mosaics of 7 patients or 7 test mosaics of 6 patients"


def test_a_reference_whose_jobs_were_tested_on_different_mosaics_has_a_remark(tmp_path: Path) -> None:
    write_job(tmp_path / "a")
    write_job(tmp_path / "b", mosaics=range(1, 8))
    a, b = comparison_of(tmp_path, "a", "b").configurations
    both = replace(a, outcomes=(*a.outcomes, *b.outcomes))
    assert "not all tested on the same" in set_against(both, both).remark
    assert set_against(a, a).remark == ""


def test_seeds_compared_are_those_of_both_sides(compared: Comparison) -> None:
    reference, same, _ = compared.configurations
    assert [c.seeds_compared for c in compared.configurations] == [0, 3, 3]
    later = set_against(same, replace(reference, outcomes=reference.outcomes[2:]))
    assert later.seeds_compared == 1
    assert len(later.outcomes) == 3


def test_an_error_at_a_temperature_that_was_not_fitted_is_none(compared: Comparison) -> None:
    def at(temperature: float) -> float:
        calibration = {"temperature": temperature, "ece": 0.1, "ece_at_temperature": 0.05}
        outcomes = [
            replace(o, metrics=dict(o.metrics) | {"calibration": calibration}) for o in compared.reference.outcomes
        ]
        numbers = over_seeds(long_table({"a": outcomes}, None))["mean"].loc["a"].loc[0].loc[ALL]
        assert numbers["ece"] == pytest.approx(0.1)
        return float(numbers["ece_at_temperature"])

    assert np.isnan(at(1.0))
    assert at(1.5) == pytest.approx(0.05)


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
    comparison = comparison_of(tmp_path, "a", "b", score=0.5)
    result = comparison.configurations[1]
    assert difference(comparison, result, "dice").differs is False
    regions = comparison.number(result, "regions_per_area", ALL)
    assert (regions.n, regions.difference) == (0, None)
    levels = [comparison.number(result, "dice", MEAN, level) for level, _ in result.levels]
    assert [level.difference for level in levels] == [None, None]
    assert levels[1].mean is not None
    assert comparison.number(result, "train_seconds", ALL).n == 0
    assert default_score(result.outcomes) is None


def test_every_number_is_in_the_long_table(compared: Comparison) -> None:
    table = compared.table
    assert list(table.columns) == ["configuration", "seed", "fold", "patient", "level", "class", "metric", "value"]
    outcome = compared.reference.outcomes[1]
    mine = table[(table["configuration"] == "model.levels=3") & (table["seed"] == 1) & (table["metric"] == "dice")]
    pooled = mine[(mine["patient"] == ALL) & (mine["class"] == MEAN) & (mine["level"] == 0)]
    assert pooled["value"].item() == pytest.approx(outcome.metrics["mean"]["dice"])
    last = mine[(mine["patient"] == "p6") & (mine["class"] == "ring")]["value"].item()
    assert last == pytest.approx(dice(outcome.confusions[-2:].sum(axis=0))[3])
    assert set(mine["patient"]) == {ALL, *(f"p{i}" for i in range(7))}


def test_seeds_that_lack_a_number_do_not_count() -> None:
    rows = [("a", seed, ALL, ALL, 0, ALL, "x", value) for seed, value in enumerate([1.0, None, 3.0])]
    rows += [("a", 0, ALL, ALL, 0, ALL, "y", None), ("a", 0, ALL, ALL, 0, ALL, "z", 2.0)]
    found: Any = over_seeds(pd.DataFrame(rows, columns=COLUMNS).astype({"value": float}))
    assert found.loc[("a", 0, ALL, "x")].tolist() == [2.0, 2**0.5, 2]
    np.testing.assert_array_equal(found.loc[("a", 0, ALL, "y")], [np.nan, np.nan, 0])
    np.testing.assert_array_equal(found.loc[("a", 0, ALL, "z")], [2.0, np.nan, 1])
