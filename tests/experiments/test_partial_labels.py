"""Labels of a part of the area: as much as asked for, of every class, and of interiors none at a border."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.partial_labels import partial
from experiments.partial_labels.partial import dabs, main
from rcm_cascade.classes import UNLABELLED


@pytest.mark.parametrize("share", [1.0, 0.58, 0.05])
def test_dabs_keep_the_share_of_each_class(share: float) -> None:
    rows, cols = np.mgrid[:300, :400]
    labels = ((rows // 100 + cols // 100) % 4).astype(np.uint8)
    labels[:40] = UNLABELLED
    for margin in (0, 8):
        kept = dabs(labels, share, margin, 0)
        assert set(np.unique(kept[kept != labels])) <= {UNLABELLED}
        for id_ in range(4):
            own = labels == id_
            inside = cv2.distanceTransform(own.view(np.uint8), cv2.DIST_L2, 5) > margin if margin else own
            assert (kept == id_).sum() == pytest.approx(min(share * own.sum(), inside.sum()), abs=2)
            assert inside[kept == id_].all()
    assert not np.array_equal(dabs(labels, 0.05, 0, 0), dabs(labels, 0.05, 0, 1))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_condition_is_trained_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partial, "SHARES", (1.0, 0.05))
    out = Path("runs/partial")

    main(None, out, seeds=1, steps=2, mosaics=6, processes=1)

    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["share"]) for row in rows] == [
        ("any", "1.0"), ("any", "0.05"), ("interior", "1.0"), ("interior", "0.05"),
    ]  # fmt: skip
    labelled = [float(row["labelled"]) for row in rows]
    assert labelled[1] == pytest.approx(0.05 * labelled[0], rel=0.05)
    assert labelled[0] > labelled[2] > labelled[3]
    assert "interiors only" in (out / "table.md").read_text()
