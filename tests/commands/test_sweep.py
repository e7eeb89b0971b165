"""Sweeps by the installed console script: real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rcm_cascade.sweeps.jobs import read_sweep
from tests.commands.conftest import tiny

SCRIPT = str(Path(sys.executable).parent / "rcm-cascade")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_sweeps_share_a_job_and_name_the_one_that_failed(phantoms: Path, tmp_path: Path) -> None:
    first = run("train", "--multirun", *tiny(phantoms), "seed=0,1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (sweep,) = (tmp_path / "runs").iterdir()
    assert len(list(sweep.glob("*/result.json"))) == 2

    # 4096 px: no patch of that size fits into the window, and only the job itself finds out.
    second = run("train", "--multirun", *tiny(phantoms), "data.patch=null,4096 px", "run=again", cwd=tmp_path)
    assert second.returncode == 2
    assert "data.patch=4096_px failed: " in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr
    jobs = {job.name: job for job in read_sweep(tmp_path / "runs" / "again").jobs}
    assert jobs["data.patch=4096_px"].state == "failed"
    assert "patch" in jobs["data.patch=4096_px"].sentence
    assert (tmp_path / "runs" / "again" / "data.patch=null").resolve() == (sweep / "seed=0").resolve()
