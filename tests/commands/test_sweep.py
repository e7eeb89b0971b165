"""Sweeps by the installed console script: real processes, some of them killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rcm_cascade.runs.jobs import read_sweep
from tests.running import tiny

SCRIPT = str(Path(sys.executable).parent / "rcm-cascade")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)


def table(sweep: Path) -> list[dict[str, str]]:
    """results.csv without what depends on how fast the machine was."""
    with (sweep / "results.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if "seconds" not in k and not k.endswith("_s")}
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_a_killed_sweep_is_completed_by_the_same_command_with_the_same_table(phantoms: Path, tmp_path: Path) -> None:
    overrides = [
        "train", "--multirun", *[o for o in tiny(phantoms) if o != "+debug=fast"], "model.levels=2,1", "seed=0,1",
        "trainer.max_epochs=4", "trainer.steps_per_epoch=6", "data.batch_size=4", "trainer.precision=fp32", "run=s",
    ]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    done = run(*overrides, cwd=whole)
    assert done.returncode == 0, done.stderr

    jobs = [parts / "runs" / "s" / job.name for job in read_sweep(whole / "runs" / "s").jobs]
    process = subprocess.Popen(
        [SCRIPT, *overrides], cwd=parts, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not (jobs[1] / "checkpoints" / "last.ckpt").exists():  # in the midst of the second
        assert process.poll() is None, "the sweep ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (jobs[0] / "result.json").exists()
    assert not (jobs[1] / "result.json").exists()
    finished = (jobs[0] / "result.json").stat().st_mtime_ns

    done = run(*overrides, cwd=parts)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is finished") == 1
    assert (jobs[0] / "result.json").stat().st_mtime_ns == finished
    for folder in (whole, parts):
        done = run("report", "runs/s", cwd=folder)
        assert done.returncode == 0, done.stderr
    assert table(parts / "runs" / "s") == table(whole / "runs" / "s")
    assert len(table(parts / "runs" / "s")) > 10


@pytest.mark.slow
def test_sweeps_share_a_job_and_name_the_one_that_failed(phantoms: Path, tmp_path: Path) -> None:
    first = run("train", "--multirun", *tiny(phantoms), "seed=0,1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (sweep,) = (tmp_path / "runs").iterdir()
    assert len(list(sweep.glob("*/result.json"))) == 2

    # 4096 px: no patch of that size fits into the window, and only the job itself finds out.
    second = run("train", "--multirun", *tiny(phantoms), "data.patch=null,4096 px", "run=again", cwd=tmp_path)
    assert second.returncode == 1
    assert "data.patch=4096_px failed: " in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr
    jobs = {job.name: job for job in read_sweep(tmp_path / "runs" / "again").jobs}
    assert jobs["data.patch=4096_px"].state == "failed"
    assert "patch" in jobs["data.patch=4096_px"].sentence
    assert (tmp_path / "runs" / "again" / "data.patch=null").resolve() == (sweep / "seed=0").resolve()
