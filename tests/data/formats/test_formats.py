import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.data.formats import base, read_image, stored_pixel_size
from rcm_cascade.data.formats.base import Format, Pixels, Stated
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from tests.data.formats.refused import assert_refused

Maker = Callable[..., NDArray[Any]]

LOSSLESS_TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "lzw-strips": {"compression": "lzw", "rowsperstrip": 7},
    "deflate-tiles": {"compression": "zlib", "predictor": True, "tile": (32, 64), "bigtiff": True},
    "zstd-tiles": {"compression": "zstd", "tile": (16, 16)},
    "jpeg2000-tiles": {"compression": "jpeg2000", "compressionargs": {"level": 0}, "tile": (64, 64)},
    "ome": {"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 0.5}},
    "imagej": {"imagej": True},
}


@pytest.mark.parametrize("variety", LOSSLESS_TIFFS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_varieties(tmp_path: Path, make_texture: Maker, variety: str, dtype: Any) -> None:
    picture = make_texture(130, 97, dtype)
    tifffile.imwrite(tmp_path / "m.tif", picture, **LOSSLESS_TIFFS[variety])
    read = read_image(tmp_path / "m.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, picture)


@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize("colour", [True, False])
def test_pyramids_give_full_resolution(tmp_path: Path, make_texture: Maker, subifds: bool, colour: bool) -> None:
    picture = make_texture(256, 320)
    pixels = np.stack([picture] * 3, axis=-1) if colour else picture
    options: dict[str, Any] = {
        "tile": (64, 64),
        "compression": "jpeg",
        "compressionargs": {"level": 95},
        "photometric": "rgb" if colour else "minisblack",
    }
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", bigtiff=True, ome=subifds) as file:
        file.write(pixels, subifds=2 if subifds else 0, metadata={} if subifds else None, **options)
        for factor in (2, 4):  # without SubIFDs: pages marked as reduced, as in cloud-optimised GeoTIFF
            file.write(pixels[::factor, ::factor], subfiletype=1, metadata=None, **options)
    read = read_image(tmp_path / "m.ome.tif")
    assert read.shape == (256, 320)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - picture).max() < 12  # JPEG


def luma(colour: NDArray[Any]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = colour.astype(np.float64) @ [0.299, 0.587, 0.114]
    return weighted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_becomes_luma_and_grey_in_three_channels_itself(tmp_path: Path, make_texture: Maker, dtype: Any) -> None:
    top = np.iinfo(dtype).max
    rounding = 0.51 if dtype == np.uint8 else 1.5  # the weights have 14 bits
    every = np.arange(top + 1, dtype=dtype).reshape(256, -1)
    colour = np.stack([make_texture(40, 50, dtype, seed) for seed in range(3)], axis=-1)
    alpha = np.dstack([colour, make_texture(40, 50, dtype, 3)])
    path = tmp_path / "m.tif"
    for pixels, grey in [(np.dstack([every] * 3), every), (colour, luma(colour)), (alpha, luma(colour))]:
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=[2] if pixels is alpha else None)
        read = read_image(path)
        assert read.dtype == dtype
        assert np.abs(read - np.asarray(grey, np.float64)).max() <= (0 if grey is every else rounding)
        np.testing.assert_array_equal(read, png(tmp_path, pixels))
    tifffile.imwrite(path, np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.abs(read_image(path) - luma(colour)).max() <= rounding


def png(tmp_path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    (tmp_path / "m.png").write_bytes(imagecodecs.png_encode(pixels))
    return read_image(tmp_path / "m.png")


def test_colour_is_converted_alike_in_every_row(tmp_path: Path, make_texture: Maker) -> None:
    colour = np.stack([make_texture(41, 50, seed=seed) for seed in range(3)], axis=-1)
    assert np.abs(png(tmp_path, colour) - luma(colour)).max() <= 0.51


def test_other_formats(tmp_path: Path, make_texture: Maker) -> None:
    grey, deep = make_texture(60, 81), make_texture(60, 81, np.uint16)
    colour = np.stack([make_texture(60, 81, seed=seed) for seed in range(3)], axis=-1)
    (tmp_path / "deep.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0))
    (tmp_path / "grey.jp2").write_bytes(imagecodecs.jpeg2k_encode(grey, level=0))
    for name, picture in {"grey.png": grey, "deep.png": deep, "grey.bmp": grey, "colour.bmp": colour}.items():
        Image.fromarray(picture).save(tmp_path / name)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(grey[::-1].copy())]).save(tmp_path / "alpha.png")
    for name, expected in {
        "grey.png": grey,
        "alpha.png": grey,
        "deep.png": deep,
        "grey.bmp": grey,
        "grey.jp2": grey,
        "deep.jp2": deep,
    }.items():
        read = read_image(tmp_path / name)
        assert read.dtype == expected.dtype, name
        np.testing.assert_array_equal(read, expected, name)
    assert np.abs(read_image(tmp_path / "colour.bmp") - luma(colour)).max() <= 0.51
    for name, pixels in {"grey.jpg": grey, "colour.jpg": colour}.items():
        Image.fromarray(pixels).save(tmp_path / name, quality=98, subsampling=0)
        expected = pixels if pixels.ndim == 2 else luma(pixels)
        assert np.abs(read_image(tmp_path / name) - expected.astype(float)).max() < 8, name


def test_the_name_does_not_tell_the_format(tmp_path: Path, make_texture: Maker) -> None:
    picture = make_texture(60, 81)
    Image.fromarray(picture).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_image((tmp_path / "m.png").rename(tmp_path / "m.tif")), picture)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    index = np.random.default_rng(0).integers(0, 16, (40, 50)).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (16, 3)).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(colours.reshape(-1).tolist())
    assert picture.mode == "P"
    picture.save(tmp_path / "8.png")
    picture.save(tmp_path / "4.png", bits=4)
    picture.save(tmp_path / "8.bmp")
    table = np.zeros((3, 256), np.uint16)
    table[:, :16] = colours.T
    tifffile.imwrite(tmp_path / "16.tif", index, photometric="palette", colormap=table * 257)
    tifffile.imwrite(tmp_path / "8.tif", index, photometric="palette", colormap=table)
    for name in ("8.png", "4.png", "8.bmp", "16.tif", "8.tif"):
        assert np.abs(read_image(tmp_path / name) - luma(colours)[index]).max() <= 0.51, name


def test_white_is_zero(tmp_path: Path, make_texture: Maker) -> None:
    for dtype in (np.uint8, np.uint16):
        picture = make_texture(60, 81, dtype)
        tifffile.imwrite(tmp_path / "m.tif", np.iinfo(dtype).max - picture, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "m.tif"), picture)


def write_tiff(pixels: Any, **options: Any) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def write_image_series(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(np.ones((30, 40), np.uint8))
        file.write(np.ones((20, 20), np.uint8))


FLAT = np.arange(2000, dtype=np.uint8).reshape(40, 50)
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "stack": (write_tiff(np.stack([FLAT] * 5), photometric="minisblack"), "holds 5 images; expected one mosaic"),
    "imagej stack": (write_tiff(np.stack([FLAT] * 4), imagej=True), "holds 4 images"),
    "one-page imagej stack": (write_tiff(np.stack([FLAT] * 4), imagej=True, truncate=True), "holds 4 images"),
    "volume": (
        write_tiff(np.zeros((16, 64, 64), np.uint8), volumetric=True, tile=(16, 16, 16)),
        "holds 16 images",
    ),
    "two images": (write_image_series, "holds 2 images"),
    "float": (write_tiff(FLAT.astype(np.float32)), r"has pixels of float32 and shape .*; expected 8- or 16-bit"),
    "signed": (write_tiff(FLAT.astype(np.int16)), "has pixels of int16"),
    "32 bit": (write_tiff(FLAT.astype(np.uint32)), "has pixels of uint32"),
    "channels": (
        write_tiff(np.dstack([FLAT] * 5), photometric="minisblack", planarconfig="contig"),
        "has 5 channels",
    ),
    "two channels": (
        write_tiff(np.dstack([FLAT] * 2), photometric="minisblack", planarconfig="contig", extrasamples=[0]),
        "has 2 channels of kind MINISBLACK",
    ),
    "CMYK": (write_tiff(np.dstack([FLAT] * 4), photometric="separated"), "channels of kind SEPARATED"),
    "CMYK JPEG": (lambda p: Image.fromarray(FLAT).convert("CMYK").save(p, "JPEG"), "has colour mode CMYK"),
    "GIF": (
        lambda p: Image.fromarray(FLAT).save(p, "GIF"),
        f"is no image this program reads; expected an image file, {base.readable()}",
    ),
    "text": (lambda p: p.write_text("mosaic,label\n"), "is no image this program reads"),
    "empty": (lambda p: p.touch(), "is no image this program reads"),
    "folder": (lambda p: p.mkdir(), "Is a directory"),
    "missing": (lambda p: None, "No such file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mosaic_is_one_sentence(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    assert_refused(tmp_path / "m.file", write, read_image, message)


def encoded(name: str, picture: NDArray[Any], path: Path) -> None:
    if name == "jpeg-tiles.tif":  # decoders accept cut JPEG tiles and fill them with grey
        tifffile.imwrite(path, picture, metadata=None, compression="jpeg", tile=(64, 64))
    elif name.endswith("tif"):
        tifffile.imwrite(path, picture, **LOSSLESS_TIFFS[name.removesuffix(".tif")])
    elif name == "jp2":
        path.write_bytes(imagecodecs.jpeg2k_encode(picture, level=0))
    else:
        Image.fromarray(picture).save(path, name)


@pytest.mark.filterwarnings("ignore::rcm_cascade.data.formats.base.FileWarning")
@pytest.mark.parametrize(
    "name",
    [
        "png",
        "bmp",
        "jpeg",
        "jp2",
        "plain.tif",
        "lzw-strips.tif",
        "deflate-tiles.tif",
        "jpeg2000-tiles.tif",
        "jpeg-tiles.tif",
        "ome.tif",
    ],
)
def test_truncated_and_damaged_files(
    tmp_path: Path, make_texture: Maker, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / "m.file"
    encoded(name, make_texture(200, 150), path)
    whole = path.read_bytes()
    end = len(whole) - (20 if name != "ome.tif" else 5000)  # its metadata come last
    for kept in (3, 9, 20, len(whole) // 10, len(whole) // 2, end):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
    rng = np.random.default_rng(0)
    for _ in range(30):  # flipped bytes decode to something or are refused, never anything else
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, min(len(whole), 400), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(InputError):
            assert read_image(path).ndim == 2
    assert caplog.text == ""
    assert capfd.readouterr().err == ""
    assert not logging.getLogger("tifffile").disabled


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcm_cascade.data.formats.base.MAX_PIXELS", 1999)
    for name in ("png", "bmp", "jpeg", "jp2", "plain.tif"):
        encoded(name, FLAT, tmp_path / "m.file")
        with pytest.raises(InputError, match="40 × 50 px"):
            read_image(tmp_path / "m.file")


def test_large_mosaics_pass_pillows_limit_and_leave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 2000 px are then what 1.8 GP are by default
    for name in ("png", "bmp", "jp2", "plain.tif"):
        encoded(name, FLAT, tmp_path / "m.file")
        np.testing.assert_array_equal(read_image(tmp_path / "m.file"), FLAT)
    picture = Image.fromarray(FLAT)
    picture.putpalette([v for i in range(256) for v in (i, i, i)][::-1])
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), 255 - FLAT)
    Image.fromarray(FLAT).save(tmp_path / "m.jpg")
    assert read_image(tmp_path / "m.jpg").shape == FLAT.shape
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.slow
def test_every_file_of_the_real_data(real_data: Path) -> None:
    for name, megapixels in (("axon-sem", 14.8), ("aerial", 83.9)):
        dataset, pixels = read_dataset(real_data / name), 0
        for entry in dataset.entries:
            image = read_image(entry.image)
            assert entry.label is not None
            labels = read_labels(entry.label, dataset.classes, (image.shape[0], image.shape[1]))
            assert image.dtype == np.uint8
            assert image.std() > 20
            assert len(np.unique(labels)) >= 3
            pixels += image.size
        assert pixels / 1e6 == pytest.approx(megapixels, rel=0.05)


def test_a_format_is_known_once_it_has_been_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.raw").write_bytes(b"RAW!\x01\x02\x03\x04\x05\x06")
    monkeypatch.setitem(base.FORMATS, "Raw", None)  # taken out again after the test

    def read(path: Path) -> Pixels:
        return Pixels(np.frombuffer(path.read_bytes()[4:], np.uint8).reshape(2, 3))

    Format("Raw", (".raw",), (b"RAW!",), read, lambda path: Stated((0.5, 0.5)))
    assert read_image(tmp_path / "m.raw").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert stored_pixel_size(tmp_path / "m.raw") == 0.5
    assert ".raw" in base.suffixes()
    (tmp_path / "m.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match="PNG, Raw or TIFF"):
        read_image(tmp_path / "m.gif")
