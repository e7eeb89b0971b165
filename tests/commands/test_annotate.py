import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rcm_cascade.commands.annotate import annotate
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError


def test_three_files_a_mosaic_and_a_broken_one_stops_nothing(
    finished_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (e.image for e in read_dataset(phantoms).entries[:2])
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 nothing")
    failed = annotate([first, broken, second], finished_run / "checkpoints" / "best.ckpt", tmp_path / "out")
    assert failed == 1
    assert "broken.tif" in capsys.readouterr().err
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    stems = [first.stem, second.stem]
    assert names == sorted(f"{s}{ending}" for s in stems for ending in (".labels.ome.tif", ".overlay.png", ".json"))
    labels = tifffile.imread(tmp_path / "out" / f"{first.stem}.labels.ome.tif")
    assert labels.shape == tifffile.imread(first).shape
    assert labels.dtype == np.uint8
    told = json.loads((tmp_path / "out" / f"{first.stem}.json").read_text())
    assert told["pixel_size_um"] == pytest.approx(8)
    assert told["synthetic"]


def test_two_mosaics_of_one_stem_are_refused_before_work_starts(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a/x\.tif.*b/x\.png|b/x\.png.*a/x\.tif"):
        annotate([Path("a/x.tif"), Path("b/x.png")], finished_run / "checkpoints" / "best.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
