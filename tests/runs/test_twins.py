import json
from pathlib import Path

import pytest

from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.folder import FolderInUseError, link_twin, locked
from rcm_cascade.runs.identity import write_config

ASKED, OTHER = compose_config([]), compose_config(["seed=1"])


def finished(folder: Path, seed: int, **facts: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    write_config(folder / "config.yaml", OTHER if seed else ASKED)
    (folder / "result.json").write_text(json.dumps({"hash": "of another release"} | facts))
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("where", ["one", "sweep/seed=0"])
def test_a_finished_run_of_the_same_configuration_is_linked_to(tmp_path: Path, where: str) -> None:
    runs = tmp_path / "runs"
    twin = finished(runs / where, 0)
    finished(runs / "other", 1)
    job = empty(runs / "levels" / "model.levels=3")

    assert link_twin(job, ASKED, dict, runs) == twin
    assert job.is_symlink()
    assert job.resolve() == twin.resolve()
    assert not job.readlink().is_absolute()
    assert link_twin(job, ASKED, dict, runs) is None  # again: it is a link already


def test_nothing_else_is_linked_to(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "other", 1)
    write_config(empty(runs / "unfinished") / "config.yaml", ASKED)
    (finished(runs / "damaged", 0) / "result.json").write_text("{")
    (finished(runs / "unreadable", 0) / "config.yaml").write_text("{")
    (finished(runs / "lost", 0) / "checkpoints" / "best.ckpt").unlink()
    job = empty(runs / "levels" / "j")

    assert link_twin(job, ASKED, dict, runs) is None
    assert not job.is_symlink()


def test_a_job_that_has_begun_is_left_alone(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "one", 0)
    job = empty(runs / "levels" / "j")
    (job / "checkpoints").mkdir()

    assert link_twin(job, ASKED, dict, runs) is None
    assert (job / "checkpoints").is_dir()


def test_what_a_failed_attempt_left_gives_way(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    twin = finished(runs / "one", 0)
    job = empty(runs / "levels" / "j")
    write_config(job / "config.yaml", ASKED)
    (job / "failure.json").write_text("{}")

    assert link_twin(job, ASKED, dict, runs) == twin
    assert job.is_symlink()


def test_a_folder_in_use_is_not_replaced(tmp_path: Path) -> None:
    finished(tmp_path / "runs" / "one", 0)
    job = empty(tmp_path / "runs" / "levels" / "j")
    with locked(job), pytest.raises(FolderInUseError, match="in use by another process"):
        link_twin(job, ASKED, dict, tmp_path / "runs")
    assert not job.is_symlink()


def test_a_run_of_other_data_is_not_linked_to(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "one", 0)
    job = empty(runs / "levels" / "j")

    assert link_twin(job, ASKED, lambda: {"split_id": "cccc"}, runs) is None
    assert link_twin(job, ASKED, lambda: None, runs) is None


def test_data_are_recognised_by_content_and_in_runs_of_before_by_their_manifest(tmp_path: Path) -> None:
    facts = {"dataset_id": "c", "mosaics_id": "m", "legacy_id": "l", "split_id": "s"}
    recorded = [
        ({"dataset_id": "c", "mosaics_id": "m", "split_id": "s"}, True),
        ({"dataset_id": "l", "split_id": "s"}, True),
        ({"dataset_id": "l", "mosaics_id": "m", "split_id": "s"}, False),
        ({"dataset_id": "c", "split_id": "s"}, False),
        ({"dataset_id": "l", "split_id": "t"}, False),
    ]
    for i, (result, same) in enumerate(recorded):
        runs = tmp_path / f"runs{i}"
        finished(runs / "one", 0, **result)
        assert (link_twin(empty(runs / "s" / "j"), ASKED, lambda: facts, runs) is not None) == same
