"""The labeller's loop goes round once, through the real commands, and the same command again changes nothing."""

import csv
from pathlib import Path

import pytest

from experiments.loop.loop import TRAINED, VALIDATED, main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_a_round_of_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("runs/loop")

    def go() -> list[dict[str, str]]:
        main(out, seeds=1, rounds=1, fields=3, steps=4, mosaics=TRAINED + VALIDATED + 2, processes=1)
        with (out / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    rows = go()

    shares = {(row["arm"], row["round"]): float(row["labelled_share"]) for row in rows}
    begun = shares["none", "0"]
    assert begun == shares["none", "1"] == shares["doubted", "0"] == shares["random", "0"] > 0.01
    assert shares["doubted", "1"] == pytest.approx(2 * begun, rel=0.2)
    assert shares["random", "1"] == pytest.approx(2 * begun, rel=0.2)
    labels = [(out / "seed0" / f"{arm}1" / "data" / "labels").iterdir() for arm in ("doubted", "random")]
    pairs = zip(*(sorted(found) for found in labels), strict=True)
    assert any(one.read_bytes() != other.read_bytes() for one, other in pairs)
    assert "label-next less random" in (out / "table.md").read_text()
    assert (out / "figure.png").exists()
    assert go() == rows
