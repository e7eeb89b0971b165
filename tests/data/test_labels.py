from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, ClassTable
from rcm_cascade.data.formats.base import FileWarning
from rcm_cascade.data.labels import read_labels
from rcm_cascade.errors import InputError
from tests.data.formats.raw_tiff import LONG, SHORT, Page, Tag, packed, write_raw_tiff
from tests.data.formats.refused import assert_refused

Maker = Callable[..., NDArray[Any]]
Write = Callable[[Path], object]

BLOCKS = np.ones((16, 16), np.uint8)
LABELS = np.kron(np.array([[0, 1, 2, 255], [3, 4, 5, 0], [5, 255, 1, 3]], np.uint8), BLOCKS)
HIDDEN = LABELS == 255
SHOWN = np.where(HIDDEN, 0, LABELS)
TWO = (LABELS == 5).astype(np.uint8)
THREE = np.where(LABELS == 5, 0, 3).astype(np.uint8)


def indexed(indices: NDArray[np.uint8], *colours: tuple[int, ...]) -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette([value for colour in colours for value in colour])
    return picture


def png(picture: Image.Image | NDArray[Any], **options: Any) -> Write:
    shown = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    return lambda path: shown.save(path, "PNG", **options)


def bmp(picture: Image.Image) -> Write:
    return lambda path: picture.save(path, "BMP")


def bmp_of_four_bits(path: Path) -> None:
    """With an identity palette, as programs write ids."""
    labels = SHOWN[::-1]
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(16))
    rows = packed(labels, 4)
    header = [40, labels.shape[1], labels.shape[0], 1 | 4 << 16, 0, len(rows), 0, 0, 16, 16]
    sizes = [118 + len(rows), 0, 118]
    path.write_bytes(b"BM" + b"".join(n.to_bytes(4, "little") for n in sizes + header) + palette + rows)


def tiff(pixels: NDArray[Any], **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, **{"metadata": None, **options})


def colormap(*colours: tuple[int, int, int]) -> NDArray[np.uint16]:
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colours)] = np.array(colours).T * 257
    return table


INVERTED = colormap(*[(255 - n,) * 3 for n in range(6)])
OPAQUE = np.where(HIDDEN, 0, 255).astype(np.uint8)
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (200, 0, 0), (150, 200, 150)
RIGHT: dict[str, tuple[Write, NDArray[np.uint8]]] = {
    # any bit depth
    "1-bit PNG": (png(Image.fromarray(TWO.astype(bool))), TWO),
    "1-bit BMP": (bmp(Image.fromarray(TWO.astype(bool))), TWO),
    "1-bit TIFF": (tiff(TWO.astype(bool)), TWO),
    "1-bit TIFF, white is zero": (tiff(TWO.astype(bool), photometric="miniswhite"), TWO),
    "4-bit TIFF": (lambda p: write_raw_tiff(p, Page(SHOWN, [], 4, strip=packed(SHOWN, 4))), SHOWN),
    "4-bit BMP": (bmp_of_four_bits, SHOWN),
    "8-bit TIFF, white is zero": (tiff(LABELS, photometric="miniswhite"), LABELS),
    "16-bit PNG": (png(LABELS.astype(np.uint16)), LABELS),
    "32-bit TIFF": (tiff(LABELS.astype(np.int32)), LABELS),
    "TIFF of whole floats": (tiff(LABELS.astype(np.float32)), LABELS),
    "three equal channels": (png(np.dstack([LABELS] * 3)), LABELS),
    # a palette is indices
    "black and white": (png(indexed(TWO, BLACK, WHITE)), TWO),
    "white and black": (png(indexed(TWO, WHITE, BLACK)), TWO),
    "white and black BMP": (bmp(indexed(TWO, WHITE, BLACK)), TWO),
    "black and white in TIFF": (tiff(TWO, photometric="palette", colormap=colormap(BLACK, WHITE)), TWO),
    "white background": (png(indexed(THREE, WHITE, RED, GREEN, BLACK)), THREE),
    "shades": (png(indexed(SHOWN, *[(n * 51,) * 3 for n in range(6)])), SHOWN),
    "inverted shades": (tiff(SHOWN, photometric="palette", colormap=INVERTED), SHOWN),
    "the classes' colours": (png(indexed(LABELS, *map(tuple, RCM_CLASSES.palette().tolist()))), LABELS),
    "the ids as shades": (png(indexed(SHOWN, *[(n,) * 3 for n in range(6)])), SHOWN),
    "8-bit BMP in black and white": (bmp(indexed(TWO, BLACK, WHITE)), TWO),
    "the only page, a mask": (lambda p: write_raw_tiff(p, Page(LABELS, [Tag(254, LONG, [4])])), LABELS),
    # transparent is unlabelled
    "palette and alpha": (
        lambda p: write_raw_tiff(
            p,
            Page(
                np.dstack([SHOWN, OPAQUE]),
                [Tag(320, SHORT, INVERTED.reshape(-1).tolist()), Tag(338, SHORT, [2])],
                photometric=3,
            ),
        ),
        LABELS,
    ),
    "grey and alpha": (png(np.dstack([SHOWN, OPAQUE])), LABELS),
    "colour and alpha": (png(np.dstack([SHOWN, SHOWN, SHOWN, OPAQUE])), LABELS),
    "TIFF with alpha": (tiff(np.dstack([SHOWN] * 3 + [OPAQUE]), photometric="rgb", extrasamples=[2]), LABELS),
    "one grey is transparent": (png(np.where(HIDDEN, 9, LABELS), transparency=9), LABELS),
    "equal channels and one of which nothing is said": (
        lambda p: write_raw_tiff(p, Page(np.dstack([LABELS] * 3 + [SHOWN * 0]), [Tag(338, SHORT, [0])], photometric=2)),
        LABELS,
    ),
    "a transparent index": (
        png(indexed(np.where(HIDDEN, 6, LABELS), *[(n, 40 * n, 9) for n in range(7)]), transparency=6),
        LABELS,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::rcm_cascade.data.formats.base.FileWarning")
@pytest.mark.parametrize("kind", RIGHT)
def test_ids_as_stored(tmp_path: Path, kind: str) -> None:
    write, ids = RIGHT[kind]
    write(tmp_path / "l.file")
    read = read_labels(tmp_path / "l.file", RCM_CLASSES, LABELS.shape)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ids)


@pytest.mark.parametrize("kind", [kind for kind in RIGHT if kind.startswith("1-bit")])
def test_one_bit_is_said(tmp_path: Path, kind: str) -> None:
    RIGHT[kind][0](tmp_path / "l.file")
    with pytest.warns(FileWarning, match=r"l\.file has one bit a pixel, read as the ids 0 and 1"):
        read_labels(tmp_path / "l.file", RCM_CLASSES, LABELS.shape)


def optimised(*order: int) -> Write:
    """A greyscale map that an optimiser rewrote to a palette, its greys in some order."""
    indices = np.zeros_like(LABELS)
    for index, grey in enumerate(order):
        indices[grey == LABELS] = index
    return png(indexed(indices, *[(grey,) * 3 for grey in order]))


def named(*order: int) -> Image.Image:
    """A palette of the classes' colours, in another order than that of the ids."""
    return indexed(SHOWN, *[RCM_CLASSES.classes[id_].rgb for id_ in order])


NAN = np.where(HIDDEN, np.nan, LABELS).astype(np.float32)
ALPHA = np.dstack([SHOWN, np.where(HIDDEN, 128, 255).astype(np.uint8)])
REFUSED: dict[str, tuple[Write, str]] = {
    "optimised, by frequency": (
        optimised(5, 3, 1, 0, 255, 4, 2),
        "read in two ways: its indices 0, 1, 2, 3, 4, 5, 6 have the grey levels 5, 3, 1, 0, 255, 4, 2; save",
    ),
    "optimised, by brightness": (optimised(0, 1, 2, 3, 4, 5, 255), "read in two ways"),
    "optimised, with a transparent colour": (
        png(
            indexed(np.where(HIDDEN, 0, (LABELS + 1) % 6 + 1), (12, 34, 56), *[(n,) * 3 for n in (5, 0, 1, 2, 3, 4)]),
            transparency=0,
        ),
        "read in two ways: its indices 1, 2, 3, 4, 5, 6 have the grey levels 5, 0, 1, 2, 3, 4",
    ),
    "two classes optimised": (png(indexed(TWO, (5, 5, 5), BLACK)), "indices 0, 1 have the grey levels 5, 0"),
    "the classes' colours in another order": (
        png(named(0, 2, 1, 3, 4, 5)),
        "1, 2 have the colours of the classes 2, 1",
    ),
    "the classes' colours by frequency": (
        png(named(5, 3, 1, 0, 4, 2)),
        "have the colours of the classes 5, 3, 1, 0, 2",
    ),
    "a class's colour beyond the ids": (
        png(indexed(np.where(HIDDEN, 7, LABELS), *[RCM_CLASSES.classes[n % 6].rgb for n in range(8)])),
        "indices 7 have the colours of the classes 1",
    ),
    "partly transparent": (png(ALPHA), "is partly transparent"),
    "a partly transparent index": (
        png(named(0, 1, 2, 3, 4, 5), transparency=bytes([255, 90])),
        "is partly transparent",
    ),
    "JPEG": (lambda p: Image.fromarray(SHOWN).save(p, "JPEG"), "is a JPEG, which may blur"),
    "JPEG 2000": (lambda p: p.write_bytes(imagecodecs.jpeg2k_encode(SHOWN, level=0)), "is a JPEG 2000, which may blur"),
    **{
        f"{codec} in TIFF": (tiff(SHOWN, compression=codec, tile=(16, 16)), f"is a TIFF with {codec.upper()}")
        for codec in ("jpeg", "jpeg2000", "jpegxl")
    },
    "WebP in TIFF": (tiff(np.dstack([SHOWN] * 3), compression="webp", tile=(16, 16)), "is a TIFF with WEBP"),
    "colours": (png(np.dstack([SHOWN, SHOWN, SHOWN[::-1]])), "is a colour picture; .* import it with a table"),
    "fractions": (tiff(LABELS / np.float32(2)), r"holds 0\.5 \(\d+ px, first at row 0, column 16\)"),
    "not a number": (tiff(NAN), r"holds nan \(\d+ px, first at row 0, column 48\)"),
    "below zero": (
        tiff(np.where(HIDDEN, -1, LABELS.astype(np.int16))),
        r"holds -1 \(512 px, first at row 0, column 48\)",
    ),
    "beyond 16 bits": (tiff(np.where(HIDDEN, 65536 + 2, LABELS.astype(np.int32))), "holds 65538"),
    "turned": (lambda p: write_raw_tiff(p, Page(LABELS, [Tag(274, SHORT, [8])])), "is stored turned"),
    "one page a class": (tiff(np.stack([TWO, 1 - TWO])), "holds 2 images"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_be_another_class_is_one_sentence(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    assert_refused(tmp_path / "l.file", write, lambda path: read_labels(path, RCM_CLASSES, LABELS.shape), message)


def test_parts_that_were_never_written(tmp_path: Path) -> None:
    tiff(SHOWN, tile=(16, 16))(tmp_path / "l.tif")
    with tifffile.TiffFile(tmp_path / "l.tif", mode="r+") as file:
        for code in (324, 325):
            tag = file.pages.first.tags[code]
            tag.overwrite([0, *tag.value[1:]])
    with pytest.raises(InputError, match=r"parts of label map .*l\.tif were never written"):
        read_labels(tmp_path / "l.tif", RCM_CLASSES, LABELS.shape)


def test_wrong_label_maps_are_one_sentence(tmp_path: Path, make_labels: Maker, classes: ClassTable) -> None:
    labels = make_labels(60, 81)
    path = tmp_path / "labels.png"

    def refused(pixels: NDArray[Any], message: str, shape: tuple[int, int] = (60, 81)) -> None:
        Image.fromarray(pixels).save(path)
        with pytest.raises(InputError, match=message) as caught:
            read_labels(path, classes, shape)
        assert "labels.png" in str(caught.value)
        assert "\n" not in str(caught.value)

    refused(labels, r"is 60 × 81 px, its mosaic 81 × 60 px \(height × width\)", (81, 60))
    wrong = labels.copy()
    wrong[0, :7], wrong[1, 2:4] = 3, 128
    refused(
        wrong,
        r"holds 3 \(7 px, first at row 0, column 0\), 128 \(2 px, first at row 1, column 2\); expected class ids 0–2 "
        "and 255 for unlabelled",
    )
    wrong = labels.astype(np.uint16)
    wrong[0, 0] = 300
    refused(wrong, r"holds 300 \(1 px")
    many = labels.copy()
    many[0, :10] = np.arange(100, 110)
    refused(many, r"104 \(1 px, first at row 0, column 4\), …; expected")
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "none.png", classes, (60, 81))
