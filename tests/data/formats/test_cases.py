"""Mosaics like those of public bug reports, kind by kind: the right pixels and pixel size, or one sentence."""

import io
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rcm_cascade.data.formats import read_image, stored_pixel_size
from rcm_cascade.data.formats.base import FileWarning
from rcm_cascade.data.resample import ResolutionWarning
from tests.data.formats.raw_tiff import (
    ASCII,
    DOUBLE,
    FLOAT,
    LONG,
    RATIONAL,
    SHORT,
    Page,
    Tag,
    at_8_um,
    packed,
    write_raw_tiff,
)
from tests.data.formats.refused import assert_refused

GREY = np.clip(np.cumsum(np.random.default_rng(0).normal(0, 9, (96, 128)), 1) % 200 + 20, 0, 255).astype(np.uint8)
RGB = np.dstack([GREY, 255 - GREY, np.roll(GREY, 40, 1) // 2])
LUMA = (RGB @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
YCBCR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
SMALL = np.ascontiguousarray(GREY[::2, ::2])
AT_16_UM = [Tag(282, RATIONAL, (625, 1)), Tag(283, RATIONAL, (625, 1)), Tag(296, SHORT, [3])]
PER_CM: dict[str, Any] = {"resolution": (1250, 1250), "resolutionunit": "CENTIMETER"}

Write = Callable[[Path], object]


def raw(*pages: Page) -> Write:
    return lambda path: write_raw_tiff(path, *pages)


def tiff(pixels: NDArray[Any] = GREY, **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, **{"metadata": None, **options})


def imagej(unit: str, per_unit: float, resolution_unit: int = 1) -> Write:
    value = (round(per_unit * 1e9), 10**9) if per_unit < 1 else (round(per_unit * 1e5), 10**5)
    tags = [Tag(282, RATIONAL, value), Tag(283, RATIONAL, value)]
    text = f"ImageJ=1.54f\nunit={unit}\nloop=false\n".encode() + b"\0"
    return raw(Page(GREY, [*tags, Tag(296, SHORT, [resolution_unit]), Tag(270, ASCII, text)]))


def ome(xml: str, *tags: Tag) -> Write:
    text = f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{xml}'
    return raw(Page(GREY, [*at_8_um(), Tag(270, ASCII, text.encode() + b"\0"), *tags]))


def ome_image(size: float, width: int = 128, height: int = 96, ifd: int = 0, name: str = "", unit: str = "µm") -> str:
    return (
        f'<Image ID="Image:{ifd}" Name="{name}"><Pixels ID="Pixels:{ifd}" SizeX="{width}" SizeY="{height}" SizeC="1" '
        f'PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}" PhysicalSizeY="{size}" PhysicalSizeYUnit="{unit}">'
        f'<TiffData IFD="{ifd}" PlaneCount="1"/></Pixels></Image>'
    )


def ome_with_macro(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        for pixels, size, name in ((RGB[:40, :60], 40.0, "macro image"), (GREY, 8.0, "mosaic")):
            file.write(pixels, metadata={"PhysicalSizeX": size, "PhysicalSizeY": size, "Name": name})


def slide(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, tile=(64, 64), metadata=None, description="Aperio Image Library v11\r\n128x96", **PER_CM)
        for name in (
            "128x96 -> 64x48 - |AppMag = 20",
            "128x96 [0,0 128x96] (64x64) -> 64x48 JPEG",
            "label 64x48",
            "macro 64x48",
        ):
            text = f"Aperio Image Library v11\r\n{name}"
            file.write(SMALL, metadata=None, description=text, resolution=(100, 100), resolutionunit="CENTIMETER")


def png(pixels: Image.Image, **options: Any) -> Write:
    return lambda path: pixels.save(path, "PNG", **options)


def xmp() -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * 1_200_000, zip=True)
    return info


def texts() -> PngInfo:
    info = PngInfo()
    for number in range(80):
        info.add_text(f"History {number}", "changed " * 20_000, zip=True)
    return info


def grey_png(bits: int) -> Write:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    def write(path: Path) -> None:
        rows = np.frombuffer(packed(GREY >> (8 - bits), bits), np.uint8).reshape(len(GREY), -1)
        header = GREY.shape[1].to_bytes(4) + GREY.shape[0].to_bytes(4) + bytes([bits, 0, 0, 0, 0])
        content = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
        parts = (chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    return write


def ome_set(path: Path) -> None:
    """A file of several that all hold the metadata of all; this one is the second."""
    images = [
        ome_image(size).replace(' PlaneCount="1"/>', f"><UUID>urn:uuid:{n}</UUID></TiffData>")
        for n, size in enumerate((4, 8))
    ]
    text = f'<OME UUID="urn:uuid:1">{"".join(images)}</OME>\0'
    write_raw_tiff(path, Page(GREY, [Tag(270, ASCII, text.encode())]))


def bmp_of_two_colours(path: Path) -> None:
    picture = Image.fromarray(GREY >> 7)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(path, "BMP")


def padded_jpeg(path: Path) -> None:
    """A tile whose length counts zeros up to a multiple of a sector."""
    strip = imagecodecs.jpeg_encode(GREY, level=100)
    write_raw_tiff(path, Page(GREY, compression=7, strip=strip + bytes(300)))


def without(path: Path, code: int) -> None:
    """A TIFF that lacks a tag."""
    write_raw_tiff(path, Page(GREY))
    content = path.read_bytes()
    entry = content.index(code.to_bytes(2, "little") + bytes([3 if code == 262 else 4, 0, 1, 0, 0, 0]), GREY.size)
    path.write_bytes(content[:entry] + (65000).to_bytes(2, "little") + content[entry + 2 :])


PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
COLORMAP = (PALETTE.T.reshape(-1).astype(np.uint16) * 257).tolist()


def jp2(pixels: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(pixels), level=0, **options))


MICRO = "\u00b5"
BY_PAGE = f"<OME>{ome_image(2)}{ome_image(3, ifd=1)}</OME>\0".encode()
RIGHT: dict[str, tuple[Write, NDArray[Any], float | None]] = {
    # three channels are not always RGB
    "YCbCr": (lambda p: Image.fromarray(YCBCR, "YCbCr").save(p, "TIFF", compression="raw"), LUMA, None),
    "YCbCr, LZW": (lambda p: Image.fromarray(YCBCR, "YCbCr").save(p, "TIFF", compression="tiff_lzw"), LUMA, None),
    "YCbCr as Aperio's JPEG 2000": (
        tiff(YCBCR, compression="APERIO_JP2000_YCBC", compressionargs={"level": 0}, photometric="ycbcr", tile=(64, 64)),
        LUMA,
        None,
    ),
    "YCbCr in JPEG 2000": (lambda p: p.write_bytes(jp2(YCBCR, colorspace="SYCC", mct=False)), LUMA, None),
    # the pixel size of the page that the pixels come from
    "thumbnail first": (
        raw(Page(SMALL, [Tag(254, LONG, [1]), *AT_16_UM]), Page(GREY, at_8_um())),
        GREY,
        8.0,
    ),
    "mask first": (
        raw(Page(GREY, [Tag(254, LONG, [4])], 1, 4, strip=packed(GREY >> 7, 1)), Page(GREY, at_8_um())),
        GREY,
        8.0,
    ),
    "macro first in OME": (ome_with_macro, GREY, 8.0),
    "slide with label and macro": (slide, GREY, 8.0),
    # units as ImageJ writes them, whatever ResolutionUnit says
    "micron": (imagej("micron", 0.125), GREY, 8.0),
    "mm": (imagej("mm", 125), GREY, 8.0),
    "micrometres in a wrong encoding": (imagej("\u00c2\u00b5m", 0.125), GREY, 8.0),
    "escaped micrometres": (imagej(r"\u00B5m", 0.125), GREY, 8.0),
    "nm against a tag in inches": (imagej("nm", 0.000125, 2), GREY, 8.0),
    "Ångström": (imagej("\u00c5", 1 / 80000), GREY, 8.0),
    "inch": (imagej("inch", 3175, 2), GREY, 8.0),
    "pixels": (imagej("pixel", 1), GREY, None),
    # tags of other types than a rational
    **{f"resolution of type {kind}": (raw(Page(GREY, at_8_um(kind))), GREY, 8.0) for kind in (SHORT, LONG, FLOAT)},
    "resolution of type double": (raw(Page(GREY, at_8_um(DOUBLE))), GREY, 8.0),
    "resolution as text": (raw(Page(GREY, [Tag(282, ASCII, b"1250\0"), Tag(296, SHORT, [3])])), GREY, 8.0),
    "resolution over zero": (raw(Page(GREY, [Tag(282, RATIONAL, (1250, 0)), Tag(296, SHORT, [3])])), GREY, None),
    # much metadata
    "XMP": (png(Image.fromarray(GREY), pnginfo=xmp()), GREY, None),
    "a large profile": (png(Image.fromarray(GREY), icc_profile=bytes(range(256)) * 9000), GREY, None),
    "many texts": (png(Image.fromarray(GREY), pnginfo=texts()), GREY, None),
    # orientations that are none
    **{f"orientation {n}": (raw(Page(GREY, [Tag(274, SHORT, [n])])), GREY, None) for n in (0, 1, 9)},
    # black pixels that are not compressed are what was not imaged
    "black below": (raw(Page(np.vstack([GREY, 0 * GREY]))), np.vstack([GREY, 0 * GREY]), None),
    "all black, deflate": (tiff(0 * GREY, compression="zlib"), 0 * GREY, None),
    "all black, Zstandard": (tiff(np.zeros((512, 512), np.uint8), compression="zstd"), np.zeros((512, 512)), None),
    # few bits
    "1 bit": (grey_png(1), (GREY >> 7) * 255, None),
    "4 bits": (grey_png(4), (GREY >> 4) * 17, None),
    "4 bits, white is zero": (raw(Page(GREY, [], 4, 0, strip=packed(15 - (GREY >> 4), 4))), (GREY >> 4) * 17, None),
    "12 bits, white is zero": (
        raw(Page(GREY, [], 12, 0, strip=imagecodecs.packints_encode(4095 - GREY.astype(np.uint16) * 16, 12))),
        GREY.astype(np.uint16) * 16,
        None,
    ),
    "a fourth channel of which nothing is said": (
        raw(Page(np.dstack([RGB, 0 * GREY]), [Tag(338, SHORT, [0])], photometric=2)),
        LUMA,
        None,
    ),
    "JPEG tiles with zeros behind": (padded_jpeg, GREY, None),
    # what other programs leave out, or copy from elsewhere
    "no word on white or black": (lambda p: without(p, 262), GREY, None),
    "no word on strips": (lambda p: without(p, 279), GREY, None),
    **{
        f"a predictor with {name}": (raw(Page(GREY, [Tag(317, SHORT, [2])], compression=code, strip=strip)), GREY, None)
        for name, code, strip in (
            ("nothing", 1, None),
            ("PackBits", 32773, imagecodecs.packbits_encode(GREY)),
            ("JPEG XL", 50002, imagecodecs.jpegxl_encode(GREY, lossless=True)),
        )
    },
    "one image of an ImageJ stack": (imagej("micron\nimages=10\nslices=10", 0.125), GREY, 8.0),
    **{f"the only page, marked {n}": (raw(Page(GREY, [*at_8_um(), Tag(254, LONG, [n])])), GREY, 8.0) for n in (1, 4)},
    "8-bit BMP in black and white": (bmp_of_two_colours, (GREY >> 7) * 255, None),
    "palette and alpha": (
        raw(Page(np.dstack([GREY, 0 * GREY]), [Tag(320, SHORT, COLORMAP), Tag(338, SHORT, [2])], photometric=3)),
        np.asarray(Image.fromarray(PALETTE[GREY]).convert("L")),
        None,
    ),
    # OME
    "OME of a set of files": (ome_set, GREY, 8.0),
    "OME in other spellings": (ome(ome_image(8000, unit="nm") + "</OME>"), GREY, 8.0),
    "OME in a wrong encoding": (ome(ome_image(5, unit=f"\u00c2{MICRO}m") + "</OME>"), GREY, 5.0),
    "OME of large pixels": (ome(ome_image(300) + "</OME>"), GREY, 300.0),
    "OME by page": (
        lambda p: write_raw_tiff(
            p,
            Page(GREY[::-1], [Tag(254, LONG, [1]), Tag(270, ASCII, BY_PAGE)]),
            Page(GREY, at_8_um()),
        ),
        GREY,
        3.0,
    ),
}


@pytest.mark.filterwarnings("ignore::rcm_cascade.data.formats.base.FileWarning")
@pytest.mark.parametrize("kind", RIGHT)
def test_right_pixels_and_their_size(tmp_path: Path, kind: str) -> None:
    write, pixels, um = RIGHT[kind]
    write(tmp_path / "m.file")
    read = read_image(tmp_path / "m.file")
    rounding = 2 if "JPEG" in kind else 1 if pixels is LUMA else 0  # its decoder goes by way of RGB
    assert np.abs(read.astype(int) - pixels).max() <= rounding
    assert stored_pixel_size(tmp_path / "m.file") == (um if um is None else pytest.approx(um))


WARNED: dict[str, tuple[Write, float | None, str]] = {
    "300 dpi": (
        tiff(resolution=(300, 300), resolutionunit="INCH"),
        None,
        r"300 dpi or 84\.67 µm, are those of a print",
    ),
    "600 dpi in cm": (tiff(resolution=(236.22, 236.22), resolutionunit="CENTIMETER"), None, "600 dpi"),
    "2400 dpi": (tiff(resolution=(2400, 2400), resolutionunit="INCH"), None, "2400 dpi"),
    "inch by ImageJ": (imagej("inch", 300, 2), None, "300 dpi"),
    "1 px/cm": (tiff(resolution=(1, 1), resolutionunit="CENTIMETER"), None, "are those of a print"),
    "malformed OME": (ome(ome_image(2)), 8.0, "are no XML"),
    "OME of no number": (ome(ome_image(8).replace('"8"', '"0,5"') + "</OME>"), 8.0, "cannot be read; it is ignored"),
    "OME cut off": (ome('<Image ID="Image:0"><Pixels SizeX="128" Si'), 8.0, "are no XML"),
    "OME of other pixels": (ome(ome_image(2, 1000, 1000) + "</OME>"), 8.0, "describe other pixels"),
}


@pytest.mark.parametrize("kind", WARNED)
def test_what_does_not_count_is_said_and_the_pixels_are_read(tmp_path: Path, kind: str) -> None:
    write, um, message = WARNED[kind]
    write(tmp_path / "m.tif")
    with pytest.warns(ResolutionWarning, match=message):
        assert stored_pixel_size(tmp_path / "m.tif") == um
    np.testing.assert_array_equal(read_image(tmp_path / "m.tif"), GREY)


def test_a_pixel_size_that_cannot_be_read_condemns_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff(**PER_CM)(tmp_path / "m.tif")
    monkeypatch.setattr("rcm_cascade.data.formats.tiff.stated_size", lambda *_: 1 / 0)
    with pytest.warns(ResolutionWarning, match=r"m\.tif may state cannot be read; it is ignored"):
        assert stored_pixel_size(tmp_path / "m.tif") is None
    np.testing.assert_array_equal(read_image(tmp_path / "m.tif"), GREY)


@pytest.mark.parametrize("kind", ["thumbnail first", "mask first", "macro first in OME", "slide with label and macro"])
def test_a_choice_is_said(tmp_path: Path, kind: str) -> None:
    RIGHT[kind][0](tmp_path / "m.tif")
    with pytest.warns(FileWarning, match=r"pictures; the mosaic is taken to be number \d, of 96 × 128 px"):
        read_image(tmp_path / "m.tif")


def test_a_pyramid_is_no_choice(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(GREY, tile=(64, 64), metadata=None)
        file.write(SMALL, tile=(64, 64), metadata=None, subfiletype=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "m.tif"), GREY)


def jpeg(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def with_preview() -> bytes:
    """A JPEG whose EXIF holds a whole smaller one, with an end marker of its own."""
    preview = io.BytesIO()
    Image.fromarray(SMALL).save(preview, "JPEG")
    whole = jpeg()
    body = b"Exif\0\0" + preview.getvalue()
    return whole[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body + whole[2:]


def cut(content: bytes, zeros: bool) -> bytes:
    """The last third is missing, or zeros, as where a copy was interrupted."""
    end = len(content) * 2 // 3
    return content[:end] + bytes(len(content) - end) * zeros


def zero_tail(**options: Any) -> Write:
    """The last third of the last tile is zeros."""

    def write(path: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (128, 128)).astype(np.uint8)
        tifffile.imwrite(path, noise, tile=(128, 128), metadata=None, **options)
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            at, length = page.dataoffsets[0], page.databytecounts[0]
        content = bytearray(path.read_bytes())
        content[at : at + length] = cut(bytes(content[at : at + length]), zeros=True)
        path.write_bytes(content)

    return write


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def preview_above(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(SMALL, subfiletype=1, subifds=1, metadata=None)
        file.write(GREY, subfiletype=0, metadata=None)


def indexed_png(rows: int) -> bytes:
    """A palette PNG that says it has 96 rows."""
    file = io.BytesIO()
    picture = Image.fromarray(GREY[:rows])
    picture.putpalette(PALETTE.reshape(-1).tolist())
    picture.save(file, "PNG")
    content = bytearray(file.getvalue())
    content[20:24] = (96).to_bytes(4)
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4)
    return bytes(content)


def flipped(content: bytes) -> bytes:
    """One bit in the pixels is another."""
    at = content.index(b"IDAT") + 400
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def tile_bomb(path: Path) -> None:
    tiff(GREY, tile=(96, 128), compression="zlib")(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        for code in (322, 323):
            file.pages.first.tags[code].overwrite(32768)


TRUNCATED = "is truncated or damaged"
REFUSED: dict[str, tuple[Write, str]] = {
    "TIFF upside down": (raw(Page(GREY[::-1, ::-1], [*at_8_um(), Tag(274, SHORT, [3])])), "is stored turned"),
    "TIFF mirrored": (raw(Page(GREY[:, ::-1], [Tag(274, LONG, [2])])), "orientation 2"),
    "JPEG turned": (lambda p: p.write_bytes(jpeg(exif=turned(6))), "orientation 6"),
    "PNG turned": (png(Image.fromarray(GREY), exif=turned(8)), "orientation 8"),
    "JPEG cut": (lambda p: p.write_bytes(cut(jpeg(), zeros=False)), TRUNCATED),
    "JPEG with zeros": (lambda p: p.write_bytes(cut(jpeg(), zeros=True)), TRUNCATED),
    "JPEG with preview, cut": (lambda p: p.write_bytes(cut(with_preview(), zeros=False)), TRUNCATED),
    "JPEG 2000 cut": (lambda p: p.write_bytes(cut(jp2(GREY), zeros=False)), TRUNCATED),
    "JPEG 2000 with zeros": (lambda p: p.write_bytes(cut(jp2(GREY, codecformat="JP2"), zeros=True)), TRUNCATED),
    "PNG cut": (lambda p: p.write_bytes(cut(bytes(imagecodecs.png_encode(GREY)), zeros=False)), TRUNCATED),
    "PNG with zeros": (lambda p: p.write_bytes(imagecodecs.png_encode(GREY)[:-12] + bytes(10**6)), TRUNCATED),
    **{
        f"{codec} tile with zeros": (zero_tail(compression=codec), TRUNCATED)
        for codec in ("jpeg", "jpeg2000", "zstd", "packbits", "lzw")
    },
    "deflate tile with zeros": (zero_tail(compression="zlib"), "cannot be decoded"),
    "CIELab": (lambda p: Image.fromarray(RGB).convert("LAB").save(p, "TIFF"), "of kind CIELAB"),
    "CMYK": (lambda p: Image.fromarray(RGB).convert("CMYK").save(p, "TIFF"), "of kind SEPARATED"),
    "CMYK in JPEG 2000": (lambda p: p.write_bytes(jp2(np.dstack([RGB, GREY]), colorspace="CMYK")), "colour space 12"),
    "YCbCr at different resolutions": (raw(Page(YCBCR, [Tag(530, SHORT, [2, 2])], photometric=6)), "different resolu"),
    "masks only": (
        raw(Page(SMALL, [Tag(254, LONG, [4])]), Page(GREY, [Tag(254, LONG, [1])])),
        "holds reduced pictures and masks only",
    ),
    "a preview above the image": (preview_above, "holds reduced pictures and masks only"),
    "MetaMorph's planes": (
        raw(Page(GREY, [Tag(33628, RATIONAL, (0, 0)), Tag(33629, RATIONAL, (0, 1) * 9)], strip=GREY.tobytes() * 9)),
        "holds 9 images",
    ),
    "YCbCr of video's range": (
        raw(Page(YCBCR, [Tag(532, RATIONAL, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1))], photometric=6)),
        "of another range",
    ),
    "palette PNG, half of it": (lambda p: p.write_bytes(indexed_png(rows=48)), "cannot be decoded"),
    "palette PNG of another checksum": (lambda p: p.write_bytes(flipped(indexed_png(rows=96))), TRUNCATED),
    "strips of no length": (raw(Page(GREY, [Tag(279, LONG, [0])])), "does not say how long its strips"),
    "a tile of a gigabyte": (tile_bomb, "its tiles are 32768 × 32768 px"),
    "an animation": (
        png(Image.fromarray(0 * GREY), save_all=True, append_images=[Image.fromarray(GREY)] * 3, default_image=True),
        "holds 3 images",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_right_is_one_sentence(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    assert_refused(tmp_path / "m.file", write, read_image, message)


def test_what_follows_a_whole_picture_does_not_matter(tmp_path: Path) -> None:
    for name, content in {"jpg": with_preview(), "png": bytes(imagecodecs.png_encode(GREY)), "jp2": jp2(GREY)}.items():
        (tmp_path / "m.file").write_bytes(content)
        whole = read_image(tmp_path / "m.file")
        (tmp_path / "m.file").write_bytes(content + (bytes(5000) if name == "jp2" else b"appended by a camera"))
        np.testing.assert_array_equal(read_image(tmp_path / "m.file"), whole, name)


def test_parts_that_were_never_written_are_said(tmp_path: Path) -> None:
    tiff(GREY, tile=(32, 64), compression="zlib")(tmp_path / "m.tif")
    with tifffile.TiffFile(tmp_path / "m.tif", mode="r+") as file:
        for code in (324, 325):
            tag = file.pages.first.tags[code]
            tag.overwrite([0, *tag.value[1:]])
    with pytest.warns(FileWarning, match=r"1 of the 6 parts of .*m\.tif were never written and are read as black"):
        read = read_image(tmp_path / "m.tif")
    expected = GREY.copy()
    expected[:32, :64] = 0
    np.testing.assert_array_equal(read, expected)
