import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.identity import write_config
from rcm_cascade.runs.jobs import FAILURE_FILE, name_jobs, read_sweep, split_jobs, write_sweep
from tests.report.factories import write_metrics
from tests.report.factories import write_sweep as write_record


def bare_run(folder: Path, *overrides: str, finished: bool = True) -> None:
    folder.mkdir(parents=True)
    write_config(folder / "config.yaml", compose_config([*overrides, f"run={folder.name}"]))
    if finished:
        write_json(folder / "result.json", {})


def test_jobs_come_in_the_order_of_the_record_with_seed_state_and_sentence(tmp_path: Path) -> None:
    bare_run(tmp_path / "sweep" / "b", "seed=7")
    bare_run(tmp_path / "elsewhere", "seed=1")
    (tmp_path / "sweep" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    bare_run(tmp_path / "sweep" / "broken", finished=False)
    write_json(tmp_path / "sweep" / "broken" / FAILURE_FILE, {"error": "no labelled mosaic"})
    bare_run(tmp_path / "sweep" / "begun", finished=False)
    write_metrics(tmp_path / "sweep" / "begun" / "metrics.csv", best=0.5, epochs=2)
    jobs = {"linked": ["a=1", "seed=1"], "b": ["a=2"], "broken": ["seed=3"], "begun": ["++seed=4"], "none": ["seed=5"]}
    sweep = read_sweep(write_record(tmp_path / "sweep", jobs, name="mine"))
    assert sweep.name == "mine"
    assert [(j.name, j.seed, j.state) for j in sweep.jobs] == [
        ("linked", 1, "finished"),
        ("b", 7, "finished"),
        ("broken", 3, "failed"),
        ("begun", 4, "unfinished"),
        ("none", 5, "unfinished"),
    ]
    assert [j.sentence for j in sweep.jobs] == [
        "",
        "",
        "no labelled mosaic",
        "interrupted or at work, with 2 epochs done",
        "nothing trained yet",
    ]
    assert sweep.jobs[0].overrides == ("a=1", "seed=1")


def test_a_finished_job_is_finished_whatever_failed_before(tmp_path: Path) -> None:
    bare_run(tmp_path / "a")
    write_json(tmp_path / "a" / FAILURE_FILE, {"error": "once"})
    assert read_sweep(write_record(tmp_path, {"a": []})).jobs[0].state == "finished"


def test_without_a_record_overrides_are_what_differs(tmp_path: Path) -> None:
    bare_run(tmp_path / "two", "model.levels=2", "loss.dice=0.5")
    bare_run(tmp_path / "three", "seed=4", "data.num_workers=1")
    (tmp_path / "notes").mkdir()
    damaged = tmp_path / "damaged" / "config.yaml"
    damaged.parent.mkdir()
    damaged.write_text("[")
    sweep = read_sweep(tmp_path)
    assert sweep.name == tmp_path.name
    found = {j.name: (set(j.overrides), j.seed) for j in sweep.jobs}
    assert found["three"] == ({"model.levels=3", "loss.dice=1.0", "seed=4"}, 4)
    assert found["two"] == ({"model.levels=2", "loss.dice=0.5", "seed=0"}, 0)
    assert found["damaged"] == (set(), 0)


def test_what_is_no_sweep_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read_sweep(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds neither sweep\.json nor run folders"):
        read_sweep(tmp_path)
    bare_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"folder of one run, whose page is .*report\.html"):
        read_sweep(tmp_path / "run")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"jobs": 3}', '{"jobs": [{"folder": "a"}]}'])
def test_a_malformed_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=r"sweep\.json is no record of a sweep"):
        read_sweep(tmp_path)


def test_a_job_of_an_unreadable_configuration_is_no_crash(tmp_path: Path) -> None:
    bare_run(tmp_path / "a", finished=False)
    (tmp_path / "a" / "config.yaml").write_text("seed: many")
    (job,) = read_sweep(write_record(tmp_path, {"a": ["x=1"]})).jobs
    assert (job.state, job.seed) == ("unfinished", 0)


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
    jobs, fixed = name_jobs(split_jobs(overrides, PARAMS))

    names = list(jobs)
    assert len(set(names)) == 8
    assert names[0] == "loss.level_weights=_1,2,4_,model.levels=3,seed=0"
    assert fixed == ["scale", "sweep"]
    assert jobs[names[0]] == ("model.levels=3", "seed=0", "scale=cpu", "loss.level_weights=[1,2,4]")


def test_the_same_command_writes_the_same_plan(tmp_path: Path) -> None:
    for _ in range(2):
        write_sweep(tmp_path / "s", ["seed=0,1"], name_jobs(split_jobs(["seed=0,1"], {}))[0])
    content = json.loads((tmp_path / "s" / "sweep.json").read_text())

    assert content == {
        "name": "s",
        "overrides": ["seed=0,1"],
        "jobs": [{"folder": "seed=0", "overrides": ["seed=0"]}, {"folder": "seed=1", "overrides": ["seed=1"]}],
    }


def test_jobs_whose_folders_would_be_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"two jobs of the sweep would have the folder data\.root=a_b, "):
        name_jobs(split_jobs(["data.root=a b,a/b"], {}))


def test_the_values_of_a_sweep_s_file_are_taken_as_typed() -> None:
    jobs = split_jobs(["seed=0"], {"init": "null,epoch=1-step=2.ckpt", "data.root": "Größe"})
    assert jobs == [(f"init={init}", "data.root='Größe'", "seed=0") for init in ("null", "'epoch=1-step=2.ckpt'")]


def test_a_sweep_of_one_job_has_a_folder_too() -> None:
    assert list(name_jobs(split_jobs(["seed=0"], {}))[0]) == ["job"]
