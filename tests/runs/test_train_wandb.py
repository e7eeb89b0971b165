import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.train import train
from rcm_cascade.training.history import read_history
from tests.running import tiny
from tests.runs.test_train import command
from tests.training.conftest import wandb_environment
from tests.training.wandb_file import read_wandb, read_wandb_file


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_that_says_everything(phantoms: Path, tmp_path: Path) -> None:
    environment = os.environ | wandb_environment(tmp_path / "home") | {"WANDB_MODE": "offline"}
    overrides = ["--multirun", *tiny(phantoms, "run=levels", "logger=wandb"), "model.levels=1,2"]
    done = subprocess.run(
        command(*overrides), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.lower().startswith(("wandb", "w&b"))]
    assert len(said) == 2, said  # a line a job
    sweep = tmp_path / "runs" / "levels"
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert len(jobs) == 2
    identities = set()
    for levels, job in enumerate(jobs, start=1):
        folder = sweep / job["folder"]
        content = read_wandb(folder)
        result = json.loads((folder / "result.json").read_text())
        identities.add(content.run.run_id)
        assert (content.run.run_group, content.run.display_name) == ("levels", job["folder"])
        assert list(content.run.tags) == [f"model.levels={levels}"]
        assert content.config["model"]["levels"] == levels
        assert {key: content.config[key] for key in ("hash", "split_id", "dataset_id", "synthetic", "version")} == {
            key: result[key] for key in ("hash", "split_id", "dataset_id", "synthetic", "version")
        }
        check_rows(content.history, read_history(folder / "metrics.csv"), levels)
        regions = content.history[0]["val/regions"]
        assert regions["count"] >= 1
        assert set(regions["all_masks"][0]) == {"prediction", "truth"}
        names = [c.name for c in read_dataset(phantoms).classes.classes]
        labels = content.config["_wandb"]["mask/class_labels"]["val/regions_wandb_delimeter_truth"]["value"]
        assert labels == {str(i): name for i, name in enumerate(names)} | {"255": "unlabelled"}
        assert content.column("validation/confusion")
        assert content.summary["result/parameters"] == result["parameters"]
        assert content.summary["validation/mean_sensitivity"] == result["validation"]["sensitivity"]
        (model,) = (a for a in content.artifacts if a.type == "model")
        assert Path(model.manifest.contents[0].local_path).samefile(folder / "checkpoints" / "best.ckpt")
        assert json.loads(model.metadata)["mean_sensitivity"] == result["validation"]["sensitivity"]
        assert content.exit_code == 0
    assert len(identities) == 2


def check_rows(rows: list[dict[str, Any]], history: list[dict[str, float]], levels: int) -> None:
    """W&B's rows are those of metrics.csv, by the same steps; behind them stands the result."""
    assert [row["_step"] for row in rows[: len(history)]] == [row["step"] for row in history]
    for row, numbers in zip(rows, history, strict=False):
        assert all(row[key] == pytest.approx(value, rel=1e-4) for key, value in numbers.items() if key != "step")
        assert {f"train/loss_level{levels}", f"train/grad_norm_level{levels}", "val/mean_sensitivity", "epoch"} <= set(
            row
        )


def test_a_job_that_fails_is_shown_as_failed_and_goes_on_as_the_same_run(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in wandb_environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = compose_config(tiny(phantoms, "logger=wandb", "logger.artifact=false"))

    def fail(*_: object, **__: object) -> None:
        raise InputError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("rcm_cascade.runs.train.score", fail)
        with pytest.raises(InputError, match="the disk is full"):
            train(config, tmp_path / "run")
    failed = read_wandb(tmp_path / "run")
    assert failed.exit_code == 1
    assert len(failed.history) == 1
    train(config, tmp_path / "run")
    (path,) = (p for p in (tmp_path / "run").rglob("*.wandb") if p != failed.path)
    finished = read_wandb_file(path)
    assert finished.exit_code == 0
    assert finished.run.run_id == failed.run.run_id
    assert finished.artifacts == []
