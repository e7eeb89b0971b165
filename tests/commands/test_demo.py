import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rcm_cascade.annotate.starter import starter_path
from rcm_cascade.cli import main
from rcm_cascade.commands.demo import overrides
from rcm_cascade.models.checkpoint import load_checkpoint
from rcm_cascade.runs.compose import compose_config

LEAST_PIXELS = 4_000_000


def test_the_demos_phantoms_have_four_megapixels_and_are_not_the_starters() -> None:
    config = compose_config(overrides(60))
    phantom = config.data.phantom
    assert np.prod([round(mm * 1000 / phantom.pixel_size_um) for mm in phantom.size_mm]) >= LEAST_PIXELS
    assert phantom.seed != compose_config(["experiment=starter"]).data.phantom.seed
    assert config.init == "starter"
    assert config.data.working_pixel_size_um == load_checkpoint(starter_path()).header.working_pixel_size_um
    assert config.trainer.max_steps == 60
    assert config.trainer.max_time is None  # steps, so that a slow machine shows the same


@pytest.mark.slow
def test_a_demo_of_two_steps_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["demo", "--steps", "2"]) == 0
    out = capfd.readouterr().out
    assert "sensitivity" in out
    assert "runs/demo/report.html" in out
    assert "began with the starter model" in out
    assert max(map(len, out.splitlines())) <= 80
    (labels,) = Path("runs/demo/annotated").glob("*.labels.ome.tif")
    assert tifffile.imread(labels).size >= LEAST_PIXELS
    before, after = (json.loads(Path(f"runs/demo/{f}/metrics.json").read_text()) for f in ("before", "evaluation"))
    assert after["patients"] >= 5
    assert after["synthetic"]
    assert after["mean"]["sensitivity"] >= 0.75
    assert f"{before['mean']['sensitivity']:.3f} before and {after['mean']['sensitivity']:.3f} after" in out
    assert main(["demo", "--steps", "2"]) == 0  # a second call repeats no training
    assert "is finished" in capfd.readouterr().err
