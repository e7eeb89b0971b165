from pathlib import Path

import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.cli import main


def test_the_table_is_whole_in_80_columns(
    finished_run: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    checkpoint = finished_run / "checkpoints" / "best.ckpt"

    assert main(["evaluate", str(checkpoint), "--data", str(phantoms), "--out", str(tmp_path / "o")]) == 0

    table = capsys.readouterr().out.rpartition("\n" + str(tmp_path))[0]
    assert all(name in table for name in (*RCM_CLASSES.names, "sensitivity", "specificity", "Dice"))
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
