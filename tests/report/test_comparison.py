from pathlib import Path

import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from rcm_cascade.report.comparison import Comparison, compare_configurations
from rcm_cascade.report.csv_tables import result_rows
from rcm_cascade.report.outcomes import Outcome, read_outcome
from rcm_cascade.runs.jobs import Sweep, read_sweep


@pytest.fixture(scope="module")
def read(sweep_folder: Path) -> tuple[Sweep, dict[str, Outcome]]:
    sweep = read_sweep(sweep_folder)
    return sweep, {job.name: read_outcome(job) for job in sweep.jobs}


def test_the_first_configuration_is_the_reference(compared: Comparison) -> None:
    assert compared.reference.label == "model.levels=3"
    assert [c.label for c in compared.configurations] == ["model.levels=3", "model.levels=2", "model.levels=1"]
    assert [c.label for c in compared.compared] == ["model.levels=2", "model.levels=1"]
    assert (compared.mosaics, compared.patients, compared.synthetic) == (8, 7, True)
    assert compared.tested == "8 test mosaics of 7 patients"
    assert compared.left_out == ()
    assert compared.missing == ()


def test_another_reference_and_score_are_taken(read: tuple[Sweep, dict[str, Outcome]]) -> None:
    comparison = compare_configurations(*read, {}, RCM_CLASSES, reference="levels=1", score=0.35)
    assert comparison.reference.label == "model.levels=1"
    assert comparison.score == 0.35
    assert all(c.seconds_to_score.n == 3 for c in comparison.configurations)
    better = comparison.configurations[0].differences["sensitivity"][-1]
    assert better.told is True
    assert (better.value or 0) > 0


def test_the_order_of_jobs_changes_no_number(read: tuple[Sweep, dict[str, Outcome]], compared: Comparison) -> None:
    sweep, outcomes = read
    turned = Sweep(sweep.path, sweep.name, sweep.jobs[::-1])
    other = compare_configurations(turned, outcomes, {}, RCM_CLASSES, reference="model.levels=3")
    rows, expected = result_rows(other), result_rows(compared)
    assert rows != expected
    assert sorted(map(str, rows)) == sorted(map(str, expected))


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
