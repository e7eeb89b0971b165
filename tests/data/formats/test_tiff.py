from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from rcm_cascade.data.formats import pixel_size, read_image, stored_pixel_size
from rcm_cascade.data.resample import ResolutionWarning
from rcm_cascade.errors import InputError

PIXELS = np.arange(600, dtype=np.uint8).reshape(20, 30)


def tiff(tmp_path: Path, **options: Any) -> Path:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, PIXELS, metadata=options.pop("metadata", None), **options)
    return path


@pytest.mark.parametrize(
    ("resolution", "unit", "um"),
    [
        ((20000, 20000), "CENTIMETER", 0.5),
        ((50800, 50800), "INCH", 0.5),
        ((1300, 1300), "INCH", 25400 / 1300),
        ((10000, 10050), "CENTIMETER", 1.0),
        ((20000, 20000), "NONE", None),
        ((1, 1), "NONE", None),
        ((72, 72), "INCH", None),
        ((96, 96), "INCH", None),
        ((28.35, 28.35), "CENTIMETER", None),  # 72 dpi
        ((37.8, 37.8), "CENTIMETER", None),  # 96 dpi
        ((0, 0), "CENTIMETER", None),
    ],
)
def test_tiff_tags(tmp_path: Path, resolution: tuple[float, float], unit: str, um: float | None) -> None:
    path = tiff(tmp_path, resolution=resolution, resolutionunit=unit)
    assert stored_pixel_size(path) == (None if um is None else pytest.approx(um))


@pytest.mark.parametrize(
    ("metadata", "um"),
    [
        ({"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, 0.5),
        ({"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}, 0.5),
        ({"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}, 0.5),
        ({"PhysicalSizeX": 0.002, "PhysicalSizeXUnit": "mm", "PhysicalSizeY": 0.002, "PhysicalSizeYUnit": "mm"}, 2.0),
        ({"PhysicalSizeX": 3, "PhysicalSizeXUnit": "pixel"}, 4.0),  # says nothing, so the tags below count
        ({"Name": "without a size"}, 4.0),
    ],
)
def test_ome_goes_before_the_tags(tmp_path: Path, metadata: dict[str, Any], um: float) -> None:
    path = tiff(
        tmp_path, ome=True, metadata={"axes": "YX", **metadata}, resolution=(2500, 2500), resolutionunit="CENTIMETER"
    )
    assert stored_pixel_size(path) == pytest.approx(um)


def test_pixels_must_be_square(tmp_path: Path) -> None:
    path = tiff(tmp_path, resolution=(10000, 9800), resolutionunit="CENTIMETER")
    with pytest.raises(InputError, match=r"m\.tif states pixels of 1 × 1\.02041 µm"):
        stored_pixel_size(path)
    assert pixel_size(path, 0.5, None) == (0.5, "manifest")


def test_densities_of_other_formats_are_ignored(tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS)
    for name in ("m.png", "m.bmp", "m.jpg"):
        picture.save(tmp_path / name, dpi=(50800, 50800))
        assert stored_pixel_size(tmp_path / name) is None


def test_the_order_of_sources(tmp_path: Path) -> None:
    stated, silent = tiff(tmp_path, resolution=(20000, 20000), resolutionunit="CENTIMETER"), tmp_path / "m.png"
    Image.fromarray(PIXELS).save(silent)
    assert pixel_size(stated, 2.0, 3.0) == (2.0, "manifest")
    size, source = pixel_size(stated, None, 3.0)
    assert source == "file"
    assert size == pytest.approx(0.5)
    assert pixel_size(silent, None, 3.0) == (3.0, "dataset")
    assert pixel_size(silent, None, None) == (None, "unknown")


def test_a_damaged_file_is_the_decoders_sentence(tmp_path: Path) -> None:
    path = tiff(tmp_path)
    path.write_bytes(path.read_bytes()[:7])
    with pytest.warns(ResolutionWarning, match="cannot be read; it is ignored"):
        assert stored_pixel_size(path) is None
    with pytest.raises(InputError, match="cannot be decoded"):
        read_image(path)


@pytest.mark.slow
def test_the_real_data(real_data: Path) -> None:
    mosaics = real_data / "aerial" / "mosaics"
    sizes = {path.name: stored_pixel_size(path) for path in mosaics.iterdir()}
    assert sizes == {"tile2.png": None, "tile4.bmp": None, "tile5.tif": None, "tile7.ome.tif": 1.0, "tile8.tif": None}
