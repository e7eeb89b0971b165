import json
from pathlib import Path

import pytest
import yaml

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json
from rcm_cascade.runs.jobs import FAILURE_FILE, flatten, read_sweep
from tests.report.factories import write_metrics, write_sweep


def bare_run(folder: Path, *, finished: bool = True, **config: object) -> None:
    folder.mkdir(parents=True)
    plain = {"hash": folder.name, "run": folder.name, "seed": 0, "data": {"num_workers": 1}} | config
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    if finished:
        write_json(folder / "result.json", {})


def test_jobs_come_in_the_order_of_the_record_with_seed_state_and_sentence(tmp_path: Path) -> None:
    bare_run(tmp_path / "sweep" / "b", seed=7)
    bare_run(tmp_path / "elsewhere", seed=1)
    (tmp_path / "sweep" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    bare_run(tmp_path / "sweep" / "broken", finished=False)
    write_json(tmp_path / "sweep" / "broken" / FAILURE_FILE, {"error": "no labelled mosaic"})
    bare_run(tmp_path / "sweep" / "begun", finished=False)
    write_metrics(tmp_path / "sweep" / "begun" / "metrics.csv", best=0.5, epochs=2)
    jobs = {"linked": ["a=1", "seed=1"], "b": ["a=2"], "broken": ["seed=3"], "begun": ["++seed=4"], "none": ["seed=5"]}
    sweep = read_sweep(write_sweep(tmp_path / "sweep", jobs, name="mine"))
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
    assert read_sweep(write_sweep(tmp_path, {"a": []})).jobs[0].state == "finished"


def test_without_a_record_overrides_are_what_differs(tmp_path: Path) -> None:
    bare_run(tmp_path / "two", model={"levels": 2, "prior": "softmax"}, loss={"weights": [1, 2.0], "dice": 1.0})
    bare_run(tmp_path / "three", model={"levels": 3, "prior": "softmax"}, loss={"weights": [1, 2.0]}, seed=4)
    (tmp_path / "notes").mkdir()
    sweep = read_sweep(tmp_path)
    assert sweep.name == tmp_path.name
    assert {j.name: (j.overrides, j.seed) for j in sweep.jobs} == {
        "three": (("model.levels=3", "seed=4"), 4),
        "two": (("model.levels=2", "seed=0", "loss.dice=1"), 0),
    }


def test_flat_values_are_written_as_on_the_command_line() -> None:
    nested = {"a": {"b": None, "c": True}, "d": [1, 0.5, "x"], "e": {"f": {"g": 1e-3}}, "h": "00:10"}
    assert flatten(nested) == {
        "a.b": "null",
        "a.c": "true",
        "d": "[1,0.5,x]",
        "e.f.g": "0.001",
        "h": "00:10",
    }


def test_what_is_no_sweep_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read_sweep(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds neither .* nor run folders"):
        read_sweep(tmp_path)
    bare_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"folder of one run, whose page is .*report\.html"):
        read_sweep(tmp_path / "run")
    with pytest.raises(InputError, match="neither"):
        read_sweep(write_sweep(tmp_path / "empty", {}))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"jobs": 3}', '{"jobs": [{"folder": "a"}]}'])
def test_a_malformed_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=r"sweep\.json is no record of a sweep"):
        read_sweep(tmp_path)


def test_an_unreadable_failure_is_still_a_failure(tmp_path: Path) -> None:
    bare_run(tmp_path / "a", finished=False)
    (tmp_path / "a" / FAILURE_FILE).write_text(json.dumps(["?"]))
    (job,) = read_sweep(write_sweep(tmp_path, {"a": []})).jobs
    assert job.state == "failed"
    assert FAILURE_FILE in job.sentence


@pytest.mark.parametrize("content", ["{", "- 1", "data: 3", "", "\x00"])
def test_without_a_record_an_unreadable_run_spoils_no_label(tmp_path: Path, content: str) -> None:
    bare_run(tmp_path / "two", model={"levels": 2, "prior": "softmax"})
    bare_run(tmp_path / "three", model={"levels": 3, "prior": "softmax"})
    bare_run(tmp_path / "bad", model={"levels": 3, "prior": "softmax"})
    (tmp_path / "bad" / "config.yaml").write_text(content)
    told = {j.name: (j.overrides, j.state) for j in read_sweep(tmp_path).jobs}
    assert told["two"] == (("model.levels=2",), "finished")
    assert told["three"] == (("model.levels=3",), "finished")
    assert told["bad"] == (("config.yaml unreadable",), "failed")
    assert str(tmp_path / "bad" / "config.yaml") in read_sweep(tmp_path).jobs[0].sentence


def test_an_unreadable_history_or_seed_is_no_crash(tmp_path: Path) -> None:
    bare_run(tmp_path / "a", finished=False, seed="many")
    (tmp_path / "a" / "metrics.csv").write_text("epoch,step\n1,x,3\n")
    (job,) = read_sweep(write_sweep(tmp_path, {"a": ["x=1"]})).jobs
    assert (job.state, job.seed) == ("unfinished", 0)
    assert "metrics.csv cannot be read" in job.sentence
