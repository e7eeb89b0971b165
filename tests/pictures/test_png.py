import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.pictures.maps import colorize
from rcm_cascade.pictures.png import png_data_uri, save_png
from tests.pictures.drawn import image_and_labels


def test_png_comes_back_as_it_went_and_leaves_nothing_else(tmp_path: Path) -> None:
    image, labels = image_and_labels()
    rgb = colorize(labels, RCM_CLASSES)
    save_png(image, tmp_path / "grey.png")
    save_png(Image.fromarray(rgb), tmp_path / "grey.png")
    assert [p.name for p in tmp_path.iterdir()] == ["grey.png"]
    with Image.open(tmp_path / "grey.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), rgb)
    prefix, data = png_data_uri(image).split(",")
    assert prefix == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = image_and_labels()
    save_png(image, tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_png(255 - image, tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), image)
