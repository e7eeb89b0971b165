import json
import os
import shutil
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from rcm_cascade.errors import InputError, JobsFailedError
from rcm_cascade.files import write_json
from rcm_cascade.runs.compose import as_typed, compose_config, config_folder
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.folder import FolderInUseError, RunFolder
from rcm_cascade.runs.identity import config_hash, write_config
from rcm_cascade.runs.jobs import read_sweep
from rcm_cascade.runs.launch import launch, plan_sweep
from tests.runs.test_compose import GROUPS

SEEDS = {"seed=0", "seed=1", "seed=2"}
SWEEPS = [c for c in GROUPS if c.startswith("sweep=") and c != "sweep=crossval"]  # whose jobs the data tell


@pytest.mark.parametrize("choice", SWEEPS)
def test_every_job_of_every_sweep_composes_and_has_a_folder_of_its_own(choice: str) -> None:
    plan = plan_sweep([f"+{choice}"])

    assert plan.folder == Path("runs") / choice.removeprefix("sweep=")
    assert len(plan.jobs) == len(set(plan.jobs)) >= 6
    assert {override for job in plan.jobs.values() for override in job if override.startswith("seed=")} == SEEDS


def test_the_jobs_of_a_sweep_are_different_configurations() -> None:
    plan = plan_sweep(["+sweep=baselines", "seed=0"])
    assert len({config_hash(compose_config(job)) for job in plan.jobs.values()}) == len(plan.jobs) == 5


def test_there_are_the_sweeps_that_the_paper_s_claims_need() -> None:
    assert {
        "levels",
        "depth_increment",
        "loss_weights",
        "error_injection",
        "prior",
        "baselines",
        "labelled_fraction",
    } <= {choice.removeprefix("sweep=") for choice in SWEEPS}


def test_the_sweep_over_levels_keeps_the_finest_network() -> None:
    depths = [
        [g.depth for g in compose_config(["+sweep=levels", f"model.levels={n}"]).model.arguments(6).geometry]
        for n in (1, 2, 3, 4)
    ]
    assert depths == [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["+sweep=nothing"], "nothing.*levels"),
        (["+sweep=levels", "trainer.devices=2"], "launcher=slurm"),
        (["+sweep=levels", "trainer.devices=auto", "launcher=slurm"], "not auto"),
        (["seed=0,1", "model.levls=2"], r"model\.levls: no such key"),
    ],
)
def test_a_wrong_sweep_leaves_nothing_behind(
    values: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        launch(["--multirun", *values], lambda config, folder: None)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def record(config: TrainConfig, folder: Path) -> None:
    """Stands for training: one job fails, and what is finished is left alone."""
    if (folder / "result.json").exists():
        return
    if config.seed == 1 and not Path("mended").exists():
        raise InputError("the disk is full")
    write_config(RunFolder(folder).config, config)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_text(str(os.getpid()))
    write_json(folder / "result.json", {"hash": config_hash(config)})


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished jobs."""
    monkeypatch.chdir(tmp_path)
    launch(["--multirun", "seed=0,2", "run=s"], record)
    return tmp_path / "runs" / "s"


def test_a_sweep_into_the_folder_of_another_is_refused_and_changes_nothing(sweep: Path) -> None:
    before = {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"holds another configuration \(optim\.lr: 0\.002 → 0\.1\)"):
        launch(["--multirun", "seed=0,2", "run=s", "optim.lr=0.1"], record)
    assert {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()} == before


def test_a_job_of_other_data_is_no_twin(sweep: Path) -> None:
    known: list[tuple[dict[str, str] | None, bool]] = [({"split_id": "x"}, False), (None, False), ({}, True)]
    for number, (facts, linked) in enumerate(known):
        launch(["--multirun", "seed=0,2", f"run=t{number}"], record, Mock(return_value=facts))
        assert (sweep.parent / f"t{number}" / "seed=0").is_symlink() == linked


def test_a_link_into_a_sweep_that_was_deleted_is_made_anew(sweep: Path) -> None:
    launch(["--multirun", "seed=0,2", "run=t"], record)
    shutil.rmtree(sweep)
    assert not (sweep.parent / "t" / "seed=0").exists()
    launch(["--multirun", "seed=0,2", "run=t"], record)
    assert (sweep.parent / "t" / "seed=0" / "result.json").is_file()
    assert not (sweep.parent / "t" / "seed=0").is_symlink()


def test_a_folder_in_use_is_left_to_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def occupied(config: TrainConfig, folder: Path) -> None:
        raise FolderInUseError(f"{folder} is in use")

    with pytest.raises(JobsFailedError, match="ended without a result; the same command goes on"):
        launch(["--multirun", "seed=0", "run=s"], occupied)
    assert not (tmp_path / "runs" / "s" / "seed=0" / "failure.json").exists()


def test_a_failed_job_leaves_no_memory_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    held: list[weakref.ref[np.ndarray[Any, Any]]] = []

    def failing(config: TrainConfig, folder: Path) -> None:
        assert all(ref() is None for ref in held)
        tensor = np.zeros(1)
        held.append(weakref.ref(tensor))
        raise InputError("out of memory")

    with pytest.raises(JobsFailedError, match=r"seed=0 failed: out of memory; .*seed=1 failed: out of memory"):
        launch(["--multirun", "seed=0,1", "run=s"], failing)


def test_a_folder_given_for_the_sweep_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    launch(["--multirun", "seed=0,2", "hydra.sweep.dir=elsewhere/mine"], record)
    assert {path.parent.name for path in Path("elsewhere/mine").glob("*/result.json")} == {"seed=0", "seed=2"}
    assert (tmp_path / "elsewhere" / "mine" / "sweep.json").is_file()
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match=r"hydra\.sweep\.subdir .*leave it out"):
        launch(["--multirun", "seed=0,2", "hydra.sweep.subdir=x"], record)


def test_a_misspelt_launcher_is_answered_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"'hydra/launcher/submitit_slrm' Available options .*submitit_slurm"):
        launch(["--multirun", "seed=0", "hydra/launcher=submitit_slrm"], record)


def test_the_users_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    seen = []
    for overrides in (["init=~/a.ckpt"], ["--multirun", "init=null,~/a.ckpt", "run=s"]):
        with suppress(JobsFailedError):  # nothing is trained here
            launch(overrides, lambda config, folder: seen.append(config.init))
    assert seen == [str(tmp_path / "a.ckpt"), None, str(tmp_path / "a.ckpt")]
    assert compose_config(["data.root=~/set"]).data.root == str(tmp_path / "set")


def test_paths_and_names_of_a_sweep_are_taken_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(config_folder(), tmp_path / "conf")
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {data.root: 'a=1,Größe #(2)', seed: '0,1'}}}\n"
    )
    monkeypatch.setattr("rcm_cascade.runs.compose.config_folder", lambda: tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    def task(config: TrainConfig, folder: Path) -> None:
        seen.append((config.data.root, config.init, config.run, str(folder)))
        record(config, folder)

    launch(["+sweep=mine", "seed=0", "run=it's 1.10", "init=e=1.ckpt"], task)
    names = ["data.root=_a=1", "data.root=_Größe_2"]
    assert seen == [
        (root, "e=1.ckpt", "it's 1.10", f"runs/it's 1.10/{name}")
        for root, name in zip(["a=1", "Größe #(2)"], names, strict=True)
    ]
    assert [job.name for job in read_sweep(Path("runs/it's 1.10")).jobs] == names
    assert {job.state for job in read_sweep(Path("runs/it's 1.10")).jobs} == {"finished"}


def test_the_name_of_a_sweep_is_taken_as_typed() -> None:
    for run, folder in (
        ("2024_01_05", "2024_01_05"),
        ("'1.10'", "1.10"),
        ("0", "0"),
        ("a,b", "a,b"),
        ("null", "seed=0,1"),
    ):
        assert plan_sweep(as_typed(["seed=0,1", f"run={run}"], sweep=True)).folder == Path("runs") / folder


def test_slurm_is_for_sweeps() -> None:
    with pytest.raises(InputError, match="add --multirun"):
        launch(["launcher=slurm"], record)


@pytest.mark.parametrize(
    "launcher",
    [[], pytest.param(["hydra/launcher=submitit_local"], marks=pytest.mark.slow)],
    ids=["here", "submitit"],
)
def test_a_failed_job_fails_alone_and_the_same_command_goes_on(
    launcher: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--multirun", "seed=0,1,2", "run=s", *launcher]
    with pytest.raises(JobsFailedError, match=r"^runs/s/seed=1 failed: the disk is full$"):
        launch(command, record)
    sweep = tmp_path / "runs" / "s"
    assert sorted(p.parent.name for p in sweep.glob("*/result.json")) == ["seed=0", "seed=2"]
    assert json.loads((sweep / "seed=1" / "failure.json").read_text()) == {"error": "the disk is full"}
    here = (sweep / "seed=0" / "checkpoints" / "best.ckpt").read_text() == str(os.getpid())
    assert here == (not launcher)

    (tmp_path / "mended").touch()
    launch(command, record)
    assert not (sweep / "seed=1" / "failure.json").exists()
    assert len(list(sweep.glob("*/result.json"))) == 3
    capsys.readouterr()

    launch(["--multirun", "seed=0,2", "run=t", *launcher], record)  # another sweep that asks for the same
    assert (tmp_path / "runs" / "t" / "seed=0").is_symlink()
    assert (tmp_path / "runs" / "t" / "seed=2").resolve() == (sweep / "seed=2").resolve()
