import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.utilities import rank_zero_only

import rcm_cascade
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from rcm_cascade.training.module import MONITORED
from rcm_cascade.training.wandb import NAME_LENGTH, TAG_LENGTH, WandbRun, open_wandb
from tests.training.conftest import wandb_environment
from tests.training.wandb_file import read_records, read_wandb, read_wandb_file

CONFIG = {"model": {"base_filters": 2, "prior": "softmax"}, "seed": 0, "run": None}
FACTS = {"hash": "h1", "dataset_id": "d1", "split_id": "s1", "synthetic": True}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's folder with its record."""
    folder = tmp_path / "levels"
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps({"name": "levels", "overrides": [], "jobs": []}))
    return folder


def begin(folder: Path, **more: Any) -> WandbRun:
    run = open_wandb(folder, project="p", config={**CONFIG, **FACTS}, **more)
    assert run is not None
    return run


def test_a_job_of_a_sweep_says_what_it_was_made_of(wandb_offline: Path, sweep: Path) -> None:
    begin(sweep / "1-model.levels=2").close(0)
    content = read_wandb(sweep)
    run = content.run
    assert (run.project, run.run_group, run.job_type, run.display_name) == (
        "p", "levels", "train", "1-model.levels=2",
    )  # fmt: skip
    assert content.config["model"] == {"base_filters": 2, "prior": "softmax"}
    assert {key: content.config[key] for key in FACTS} == FACTS
    assert content.config["version"] == rcm_cascade.__version__
    assert content.exit_code == 0


def test_what_distinguishes_a_job_are_its_tags(wandb_offline: Path, tmp_path: Path) -> None:
    long = f"data.root={'r' * 100}"
    begin(tmp_path / f"+debug=fast,loss.level_weights=_1,2,4_,{long},seed=0").close(0)
    tags = ["+debug=fast", long[:TAG_LENGTH], "loss.level_weights=_1,2,4_", "seed=0"]
    assert sorted(read_wandb(tmp_path).run.tags) == tags


def test_a_job_s_group_may_be_told(wandb_offline: Path, sweep: Path) -> None:
    begin(sweep / "0-model.levels=1", group="mine").close(0)
    assert read_wandb(sweep).run.run_group == "mine"


def test_a_run_by_itself_has_no_group(wandb_offline: Path, tmp_path: Path) -> None:
    begin(tmp_path / "alone").close(0)
    assert read_wandb(tmp_path / "alone").run.run_group == ""


def test_rows_are_numbered_by_step_and_validation_shares_the_row(wandb_offline: Path, tmp_path: Path) -> None:
    run = begin(tmp_path / "a")
    for step, sensitivity in ((3, 0.7), (7, 0.5)):
        run.log_metrics({"val/note": wandb.Table(columns=["step"], data=[[step]])}, step=step)
        run.log_metrics({MONITORED: sensitivity, "epoch": step // 4}, step=step)
        run.log_metrics({"train/loss": 1 / step, "epoch": step // 4}, step=step)
    run.log_metrics({"train/loss": float("nan")}, step=11)
    run.close(0)
    content = read_wandb(tmp_path / "a")
    assert [row["_step"] for row in content.history] == [3, 7, 11]
    assert content.column(MONITORED) == [(3, 0.7), (7, 0.5)]
    assert content.column("train/loss")[:2] == [(3, 1 / 3), (7, 1 / 7)]
    assert [step for step, _ in content.column("val/note")] == [3, 7]
    assert content.best == {MONITORED}


def test_a_failed_job_is_shown_as_failed(wandb_offline: Path, tmp_path: Path) -> None:
    run = begin(tmp_path / "a")
    run.log_metrics({"train/loss": 1.0}, step=0)
    run.close(1)
    content = read_wandb(tmp_path / "a")
    assert content.exit_code == 1
    assert content.column("train/loss") == [(0, 1.0)]


def test_a_file_that_is_being_written_reads_as_far_as_it_is(wandb_offline: Path, tmp_path: Path) -> None:
    begin(tmp_path / "a").close(0)
    whole = read_wandb(tmp_path / "a").path.read_bytes()
    records = list(read_records(whole))
    for length in range(0, len(whole), 5):
        found = list(read_records(whole[:length]))
        assert found == records[: len(found)]


def test_a_resumed_job_goes_on_with_its_run(wandb_offline: Path, tmp_path: Path) -> None:
    for step in (3, 7):
        run = begin(tmp_path / "a")
        run.log_metrics({"train/loss": 1.0}, step=step)
        run.close(1 if step == 3 else 0)
    first, second = (
        read_wandb_file(p) for p in sorted((tmp_path / "a").rglob("*.wandb"), key=lambda p: p.stat().st_mtime)
    )
    assert first.run.run_id == second.run.run_id
    assert [c.column("train/loss") for c in (first, second)] == [[(3, 1.0)], [(7, 1.0)]]
    shutil.rmtree(tmp_path / "a")
    begin(tmp_path / "a").close(0)
    assert read_wandb(tmp_path / "a").run.run_id != first.run.run_id


def test_no_job_touches_another_run_of_its_process(wandb_offline: Path, tmp_path: Path) -> None:
    own: Any = wandb.init(dir=tmp_path, project="own", mode="offline")
    try:
        first, second = begin(tmp_path / "a"), begin(tmp_path / "b")
        second.log_metrics({"train/loss": 2.0}, step=0)
        first.log_metrics({"train/loss": 1.0}, step=0)
        first.close(1)
        second.close(0)
        current: Any = wandb.run
        assert current is own
        own.log({"mine": 3})
    finally:
        own.finish()
    a, b = (read_wandb(tmp_path / name) for name in "ab")
    assert (a.column("train/loss"), a.exit_code) == ([(0, 1.0)], 1)
    assert (b.column("train/loss"), b.exit_code) == ([(0, 2.0)], 0)
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert read_wandb_file(path).column("mine") == [(0, 3)]


def test_a_checkpoint_is_an_artifact_and_is_not_copied(wandb_offline: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "a" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(os.urandom(300_000))
    run = begin(tmp_path / "a")
    run.log_result(FACTS | {"version": "1", "steps": 3}, None, RCM_CLASSES, checkpoint)
    run.close(0)
    content = read_wandb(tmp_path / "a")
    (artifact,) = content.artifacts
    assert artifact.type == "model"
    assert artifact.name == f"model-{content.run.run_id}"
    assert "best" in artifact.aliases
    assert json.loads(artifact.metadata) == FACTS | {"version": "1", "mean_sensitivity": None}
    (file,) = artifact.manifest.contents
    assert Path(file.local_path) == checkpoint
    copies = [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size >= 300_000]
    assert copies == [checkpoint]


def test_disabled_there_is_no_run(wandb_offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert open_wandb(tmp_path / "a", project="p", config={}) is None
    assert wandb.run is None
    assert not (tmp_path / "a").exists()


def test_other_ranks_have_no_run(wandb_offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert open_wandb(tmp_path / "a", project="p", config={}) is None
    assert not (tmp_path / "a").exists()


def test_what_wandb_refuses_is_one_sentence(
    wandb_offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"Invalid project name 'a/b'.*logger=csv"):
        open_wandb(tmp_path / "a", project="a/b", config={})
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(InputError, match=r"mode: Input should be 'online', .*logger=csv"):
        begin(tmp_path / "a")


def test_names_fit(wandb_offline: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("a=" + "b" * (NAME_LENGTH - 1))
    begin(folder).close(0)
    assert len(read_wandb(tmp_path).run.display_name) == NAME_LENGTH


SCRIPT = """
from pathlib import Path
from rcm_cascade.training.wandb import open_wandb
run = open_wandb(Path("a"), project="p", config={})
run.log_metrics({"train/loss": 1.0}, step=4)
run.close(0)
"""


@pytest.mark.slow
def test_nobody_is_asked_to_log_in(tmp_path: Path) -> None:
    said = run_in_terminal(tmp_path, {})
    assert "nobody is logged in to W&B" in said
    assert len(said.splitlines()) == 2, said
    assert read_wandb(tmp_path / "a").column("train/loss") == [(4, 1.0)]


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    server = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "3"}
    said = run_in_terminal(tmp_path, server)
    assert "W&B cannot be reached" in said
    assert [read_wandb_file(p).column("train/loss") for p in (tmp_path / "a").glob("wandb/offline*/*.wandb")] == [
        [(4, 1.0)]
    ]


def run_in_terminal(folder: Path, more: dict[str, str]) -> str:
    """What the script says on a terminal, where W&B would ask for a key."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment = inherited | wandb_environment(folder / "home") | {"HOME": str(folder / "home")} | more
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while piece := _read(ours):
            said += piece
        assert process.wait(timeout=120) == 0, said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way of saying that the other end is closed
        return b""
