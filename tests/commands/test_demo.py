import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rcm_cascade.commands.demo import LEAST_PIXELS, demo, overrides
from rcm_cascade.runs.compose import compose_config


def test_the_demos_mosaics_have_four_megapixels() -> None:
    phantom = compose_config(overrides(4.5)).data.phantom
    assert np.prod([round(mm * 1000 / phantom.pixel_size_um) for mm in phantom.size_mm]) >= LEAST_PIXELS


@pytest.mark.slow
def test_a_demo_of_seconds_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo(0.1)
    out = capfd.readouterr().out
    assert "sensitivity" in out
    assert "runs/demo/report.html" in out
    (labels,) = Path("runs/demo/annotated").glob("*.labels.ome.tif")
    assert tifffile.imread(labels).size >= LEAST_PIXELS
    metrics = json.loads(Path("runs/demo/evaluation/metrics.json").read_text())
    assert metrics["patients"] >= 5
    assert metrics["synthetic"]
    demo(0.1)  # a second call repeats no training
    assert "is finished" in capfd.readouterr().err
