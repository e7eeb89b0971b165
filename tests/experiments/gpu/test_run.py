import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "experiments" / "gpu" / "run.sh"


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"OUT": str(folder / "out"), "PYTHON": sys.executable}
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_part_is_rehearsed(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    done = run(tmp_path, "--rehearse")
    parts = (tmp_path / "out" / "parts.txt").read_text().splitlines()
    assert done.returncode == 0, done.stdout
    assert [line.split(",")[0] for line in parts] == [
        f"{name}: status 0" for name in ("tests", "trained", "annotation", "training", "paper", "scores")
    ]
    assert " passed" in (tmp_path / "out" / "tests.log").read_text()
    for name in ("annotation/annotation.md", "training/training.md", "paper/metrics.json", "paper/metrics.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 100, name


def test_an_unknown_option_is_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "--rehears")
    assert done.returncode == 2
    assert done.stderr == "error: --rehears is no option; the only one is --rehearse\n"
    assert not list(tmp_path.iterdir())
