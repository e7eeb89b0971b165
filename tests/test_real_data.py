"""The real job on real files, in small: the tables of experiments/real need ten minutes of training each."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rcm_cascade.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is enlarged.*"),  # axon-sem's rat 1 is coarser than its working size
]


def test_axon_sem_from_training_to_a_scored_label_map(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred steps, a minute, beat the floor of one class a grey level (.60)."""
    monkeypatch.chdir(tmp_path)
    root = real_data / "axon-sem"
    overrides = ["run=axon", "data=folder", f"data.root={root}", "data.batch_size=4", "model.base_filters=4"]
    assert main(["train", *overrides, "trainer.max_steps=200"]) == 0
    assert main(["evaluate", "runs/axon/checkpoints/best.ckpt", "--data", str(root)]) == 0
    metrics = json.loads(Path("runs/axon/evaluation/metrics.json").read_text())
    assert metrics["mosaics"] == 1
    assert metrics["pixel_accuracy"] > 0.65
    assert metrics["classes"][0]["sensitivity_ci"] is None


def test_aerial_every_format_whole_on_its_own_grid(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = real_data / "aerial"
    Path("split.csv").write_text(
        "mosaic,split\nmosaics/tile5.tif,train\nmosaics/tile2.png,val\nmosaics/tile4.bmp,test\n"
    )
    overrides = ["run=aerial", "data=folder", f"data.root={root}", "data.split_file=split.csv", "model.base_filters=2"]
    assert main(["train", *overrides, "+debug=fast"]) == 0
    best = "runs/aerial/checkpoints/best.ckpt"
    assert main(["evaluate", best, "--data", str(root)]) == 0
    assert json.loads(Path("runs/aerial/evaluation/metrics.json").read_text())["mosaics"] == 1
    mosaics = ["tile2.png", "tile7.ome.tif", "tile8.tif"]
    assert main(["annotate", *(str(root / "mosaics" / m) for m in mosaics), "--checkpoint", best, "--out", "out"]) == 0
    for stem, shape in (("tile7", (6184, 5450)), ("tile8", (4438, 6447))):
        with tifffile.TiffFile(f"out/{stem}.labels.ome.tif") as file:
            assert file.is_ome
            assert file.series[0].shape == shape
            assert len(file.series[0].levels) > 2
            labels = file.asarray()
        assert labels.dtype == np.uint8
        assert labels.max() < 5
