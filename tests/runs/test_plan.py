import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rcm_cascade.runs.compose import job_folder
from rcm_cascade.runs.plan import plan_sweep, split_jobs

PARAMS = {"model.levels": "3,1", "seed": "0,1"}


def test_a_sweeps_values_and_the_command_lines_are_multiplied_and_the_latter_win() -> None:
    jobs = split_jobs(["+sweep=levels", "seed=4,5,6", "scale=cpu"], PARAMS)

    assert len(jobs) == 6
    assert [j for j in jobs if "seed=0" in j] == []
    assert jobs[0] == ("model.levels=3", "seed=4", "+sweep=levels", "scale=cpu")


@pytest.mark.parametrize(
    "overrides",
    [["seed=0,1", "+a.b=x", "~c"], ["x=choice(1,2)", "y=range(3)", "x=[1,2],[3]"], ["d={a:1,b:2}", "e='1,2'"]],
)
def test_jobs_are_split_as_hydras_sweeper_splits_them(overrides: list[str]) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # private: in this test alone

    parsed = OverridesParser.create().parse_overrides([*(f"{k}={v}" for k, v in PARAMS.items()), *overrides])
    (expected,) = BasicSweeper.split_arguments(parsed, None)
    assert split_jobs(overrides, PARAMS) == [tuple(job) for job in expected]


def test_folders_are_named_after_what_distinguishes_the_jobs() -> None:
    overrides = ["+sweep=levels", "scale=cpu", "loss.level_weights=[1,2,4],equal"]
    plan = plan_sweep("levels", overrides, split_jobs(overrides, PARAMS), job_folder)

    names = list(plan.jobs)
    assert len(set(names)) == 8
    assert names[0] == "loss.level_weights=_1,2,4_,model.levels=3,seed=0"
    assert plan.fixed == ("scale", "sweep")
    assert plan.jobs[names[0]] == ("model.levels=3", "seed=0", "scale=cpu", "loss.level_weights=[1,2,4]")


def test_the_same_command_writes_the_same_plan(tmp_path: Path) -> None:
    for _ in range(2):
        plan_sweep("s", ["seed=0,1"], split_jobs(["seed=0,1"], {}), job_folder).write(tmp_path / "s")
    content = json.loads((tmp_path / "s" / "sweep.json").read_text())

    assert content == {
        "name": "s",
        "overrides": ["seed=0,1"],
        "jobs": [{"folder": "seed=0", "overrides": ["seed=0"]}, {"folder": "seed=1", "overrides": ["seed=1"]}],
    }


def test_a_sweep_of_one_job_has_a_folder_too() -> None:
    plan = plan_sweep("s", ["seed=0"], split_jobs(["seed=0"], {}), job_folder)

    assert list(plan.jobs) == ["job"]
