from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)).save(path / "Case #1.png")
    labels = np.full((40, 50), 255, np.uint8)
    labels[:20] = 3
    Image.fromarray(labels).save(path / "Case #1_labels.png")
    return path


def test_a_table_says_what_was_imported(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(folder), "--into", str(tmp_path / "set"), "--patient", "7"]) == 0

    out = " ".join(capsys.readouterr().out.split())
    assert "50.0%" in out
    assert main(["check", str(tmp_path / "set")]) == 0
    assert (tmp_path / "set" / "manifest.csv").read_text().splitlines()[1:] == [
        "mosaics/Case #1.png,labels/Case #1.png,7,,,"
    ]


def test_a_dry_run_says_so(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(folder), "--into", str(tmp_path / "set"), "--dry-run"]) == 0

    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "set").exists()


def test_what_is_refused_is_status_1(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((41, 50), np.uint8)).save(folder / "Case #1_labels.png")

    assert main(["import", str(folder), "--into", str(tmp_path / "set")]) == 1

    assert "+1 rows" in capsys.readouterr().err
