import json
from pathlib import Path

import pytest

from rcm_cascade.runs.sharing import link_twin


def finished(folder: Path, identity: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (folder / "result.json").write_text(json.dumps({"hash": identity}))
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("where", ["one", "sweep/seed=0"])
def test_a_finished_run_of_the_same_configuration_is_linked_to(tmp_path: Path, where: str) -> None:
    runs = tmp_path / "runs"
    twin = finished(runs / where, "aaaa")
    finished(runs / "other", "bbbb")
    job = empty(runs / "levels" / "model.levels=3")

    assert link_twin(job, "aaaa", dict, runs) == twin
    assert job.is_symlink()
    assert job.resolve() == twin.resolve()
    assert not job.readlink().is_absolute()
    assert link_twin(job, "aaaa", dict, runs) is None  # again: it is a link already


def test_nothing_else_is_linked_to(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "other", "bbbb")
    unfinished = empty(runs / "unfinished")
    (unfinished / "config.yaml").write_text("hash: aaaa")
    damaged = empty(runs / "damaged")
    (damaged / "result.json").write_text("{")
    lost = finished(runs / "lost", "aaaa")
    (lost / "checkpoints" / "best.ckpt").unlink()
    job = empty(runs / "levels" / "j")

    assert link_twin(job, "aaaa", dict, runs) is None
    assert not job.is_symlink()


def test_a_job_that_has_begun_is_left_alone(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "one", "aaaa")
    job = empty(runs / "levels" / "j")
    (job / "checkpoints").mkdir()

    assert link_twin(job, "aaaa", dict, runs) is None
    assert (job / "checkpoints").is_dir()


def test_what_a_failed_attempt_left_gives_way(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    twin = finished(runs / "one", "aaaa")
    job = empty(runs / "levels" / "j")
    (job / "config.yaml").write_text("hash: aaaa")
    (job / "failure.json").write_text("{}")

    assert link_twin(job, "aaaa", dict, runs) == twin
    assert job.is_symlink()


def test_a_run_of_other_data_is_not_linked_to(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "one", "aaaa")
    job = empty(runs / "levels" / "j")

    assert link_twin(job, "aaaa", lambda: {"split_id": "cccc"}, runs) is None
    assert link_twin(job, "aaaa", lambda: None, runs) is None
