import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

CHECKOUT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_alone(tmp_path: Path) -> None:
    """Built, installed into an empty environment outside the checkout, and trained with."""
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", CHECKOUT, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"rcm_cascade"}
    assert "rcm_cascade/conf/train.yaml" in names
    assert "rcm_cascade/py.typed" in names
    assert "rcm_cascade/annotate/starter/README.md" in names
    assert "rcm_cascade/annotate/starter/starter.safetensors" in names
    assert wheel.stat().st_size < 10_000_000

    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    constraints = CHECKOUT / "constraints.txt"
    run(python, "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=tmp_path)
    script = tmp_path / "empty" / "bin" / "rcm-cascade"
    assert "annotate" in run(script, "--help", cwd=tmp_path)
    assert "RCM_CASCADE_CACHE" in os.environ
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(1250, 1250), resolutionunit="CENTIMETER")
    run(script, "annotate", "a.tif", "--out", "annotated", cwd=tmp_path)
    assert json.loads((tmp_path / "annotated" / "a.json").read_text("utf-8"))["synthetic"] is True
    run(script, "train", "+debug=fast", "run=wheel", "experiment=from_starter", cwd=tmp_path)
    assert (tmp_path / "runs" / "wheel" / "checkpoints" / "best.ckpt").is_file()
    assert (tmp_path / "runs" / "wheel" / "report.html").is_file()
