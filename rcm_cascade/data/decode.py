"""Image and label files into arrays.

The format is told from a file's first bytes, and its size looked at before anything is decoded.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.resolution import PixelSizeSource, pixel_size, stored_pixel_size
from rcm_cascade.data.untrusted import FORMATS, TIFF, check_size, first_bytes, in_one_sentence, size_text
from rcm_cascade.errors import InputError

__all__ = ["PixelSizeSource", "pixel_size", "read_image", "read_labels", "stored_pixel_size"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_BMP: Final = b"BM"
_JPEG: Final = b"\xff\xd8\xff"
_JPEG2000: Final = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")

_REDUCED_OR_MASK: Final = 1 | 4  # bits of the TIFF tag NewSubfileType
_STRIP: Final = 2**22  # pixels looked at in one go, so that temporaries stay small beside a mosaic


def read_image(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey levels of a mosaic, ``(H, W)``, uint8 or uint16 as stored.

    Colour gives its ITU-R 601 luma (equal channels: exactly one of them); transparency is dropped, palettes are looked
    up, white-is-zero is inverted. Of a pyramid, the full resolution is read.

    Raises:
        InputError: if the file is missing, empty, damaged, no image in one of the formats, larger than `MAX_PIXELS`,
            not 8 or 16 bit, or holds several images.
    """
    path = Path(path)
    with in_one_sentence(path):
        pixels, palette = _decode(path)
        return _to_grey(pixels, path) if palette is None else _to_grey(palette[None], path)[0][pixels]


def read_labels(path: str | Path, classes: ClassTable, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A label map, ``(H, W)`` uint8: class ids and 255 where unlabelled.

    The grey value is the class id. In a picture with a palette it is the index, unless the palette's own colours are
    grey and all of them ids or 255: then a PNG optimiser has rewritten a grey picture, and they are the ids.

    Args:
        path: of a greyscale or palette PNG or TIFF (any format that is lossless will do).
        classes: the ids that may occur.
        shape: height and width of the mosaic, in px.

    Raises:
        InputError: as `read_image`, and if the size is not the mosaic's, the picture is coloured, or a value is
            neither an id nor 255.
    """
    path = Path(path)
    with in_one_sentence(path):
        if first_bytes(path).startswith(_JPEG):
            raise InputError(
                f"label map {path} is a JPEG, which blurs ids into one another; save it as a greyscale PNG or TIFF"
            )
        pixels, palette = _decode(path)
        if palette is not None:
            used = np.flatnonzero(_histogram(pixels)[: len(palette)])
            greys = palette[used].astype(np.int64)
            if (greys == greys[:, :1]).all() and np.isin(greys[:, 0], [*range(len(classes)), UNLABELLED]).all():
                pixels = palette[:, 0][pixels]
        elif pixels.ndim == 3 and not _equal_channels(pixels):
            raise InputError(
                f"label map {path} is a colour picture; expected one grey value (the class id) or palette index a "
                "pixel: save it as a greyscale PNG or TIFF"
            )
        if pixels.ndim == 3:
            pixels = pixels[..., 0]
        if pixels.shape != shape:
            raise InputError(
                f"label map {path} is {size_text(pixels.shape)}, its mosaic {size_text(shape)} (height × width); give "
                "a label map of the mosaic's own size"
            )
        counts = _histogram(pixels)
        counts[[*range(len(classes)), UNLABELLED]] = 0
        wrong = np.flatnonzero(counts)
        if len(wrong):
            shown = ", ".join(f"{value} ({counts[value]} px)" for value in wrong[:5]) + ", …" * (len(wrong) > 5)
            raise InputError(
                f"label map {path} holds {shown}; expected class ids 0–{len(classes) - 1} and {UNLABELLED} for "
                "unlabelled: correct the label map or the classes of dataset.yaml"
            )
        return np.ascontiguousarray(pixels, np.uint8)


def _decode(path: Path) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Pixels ``(H, W)`` or ``(H, W, channels)``, and the palette ``(≤ 256, 3)`` where they are indices into one."""
    start = first_bytes(path)
    if start.startswith(TIFF):
        return _decode_tiff(path)
    if start.startswith(_PNG):
        with path.open("rb") as file, PngImageFile(file) as picture:
            check_size(path, picture.height, picture.width)
            if picture.mode == "P":
                return _from_pillow(path, picture)
        return imagecodecs.png_decode(path.read_bytes()), None  # Pillow cuts 16-bit colour down to 8
    if start.startswith((_BMP, _JPEG)):
        # the plug-in itself, because Image.open refuses large mosaics unless a global limit is lifted for everybody
        plugin: type[ImageFile] = BmpImageFile if start.startswith(_BMP) else JpegImageFile
        with path.open("rb") as file, plugin(file) as picture:
            check_size(path, picture.height, picture.width)
            return _from_pillow(path, picture)
    if start.startswith(_JPEG2000):
        with path.open("rb") as file, Jpeg2KImageFile(file) as picture:
            check_size(path, picture.height, picture.width)
        return imagecodecs.jpeg2k_decode(path.read_bytes()), None
    raise InputError(f"{path} is no image this program reads; expected {FORMATS}: export it as one of these")


def _from_pillow(path: Path, picture: ImageFile) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    if picture.mode == "P":
        colours = picture.getpalette("RGB") or []
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours) // 3] = np.array(colours, np.uint8).reshape(-1, 3)
        return np.asarray(picture), palette
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "1"):
        raise InputError(f"{path} has colour mode {picture.mode}; expected grey or RGB: save it as greyscale")
    return np.asarray(picture.convert("L") if picture.mode == "1" else picture), None


def _decode_tiff(path: Path) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    with tifffile.TiffFile(path) as file:
        # The chain of pages and not tifffile's series: those follow OME metadata into other files. Levels of a pyramid
        # are SubIFDs, outside the chain, or pages marked as reduced.
        pages = [p for p in map(_page, file.pages) if not p.subfiletype & _REDUCED_OR_MASK]
        if not pages:
            raise ValueError("no page")
        images = len(pages)
        if file.is_imagej:
            images = max(images, int((file.imagej_metadata or {}).get("images", 1)))
        elif file.is_shaped and len(pages) == 1:
            shape = (file.shaped_metadata or [{}])[0].get("shape", pages[0].shape)
            images = max(1, math.prod(shape) // max(math.prod(pages[0].shape), 1))
        if images != 1 or pages[0].imagedepth != 1:
            raise InputError(
                f"{path} holds {images if images != 1 else pages[0].imagedepth} images; expected one mosaic: save the "
                "one you mean as a file of its own"
            )
        page = pages[0]
        check_size(path, page.imagelength, page.imagewidth)
        if page.dtype not in (np.uint8, np.uint16) or (page.photometric != 3 and page.bitspersample < 8):
            raise InputError(
                f"{path} has pixels of {_pixel_type(page)}; expected 8- or 16-bit unsigned integers: convert the image"
            )
        colours = {0: 1, 1: 1, 2: 3, 3: 1, 6: 3}.get(page.photometric, 0)  # others are CMYK, CIELab, …
        extra = page.samplesperpixel - colours
        alpha = extra == 1 and (colours == 3 or any(page.extrasamples))
        if not colours or (extra and not alpha):
            raise InputError(
                f"{path} has {page.samplesperpixel} channels of kind {tifffile.PHOTOMETRIC(page.photometric).name}; "
                "expected grey or RGB: save the channel you mean alone"
            )
        end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
        if end > path.stat().st_size:
            raise InputError(
                f"{path} is truncated: its pixels end at byte {end}, the file at {path.stat().st_size}; copy it again"
            )
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        palette = None
        if page.photometric == 3 and page.colormap is not None:
            eight_bit = page.colormap.max() < 256  # against the standard, and common
            palette = (page.colormap >> (0 if eight_bit else 8)).astype(np.uint8).T
        elif page.photometric == 0:
            pixels = np.iinfo(pixels.dtype).max - pixels
        return pixels, palette


def _page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _pixel_type(page: tifffile.TiffPage) -> str:
    return f"{page.bitspersample} bit" if page.bitspersample < 8 else str(page.dtype)


def _to_grey(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One grey channel, contiguous, of pixels ``(H, W)`` or ``(H, W, channels)``."""
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3):
        raise InputError(
            f"{path} has pixels of {pixels.dtype} and shape {pixels.shape}; expected 8- or 16-bit grey or RGB: "
            "convert the image"
        )
    if pixels.ndim == 3 and pixels.shape[2] > 4:
        raise InputError(f"{path} has {pixels.shape[2]} channels; expected grey or RGB: save the one you mean alone")
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])
    grey: NDArray[Any] = np.empty(pixels.shape[:2], pixels.dtype)
    for rows in _strips(pixels):
        grey[rows] = cv2.cvtColor(np.ascontiguousarray(pixels[rows, :, :3]), cv2.COLOR_RGB2GRAY)
    return grey


def _equal_channels(pixels: NDArray[Any]) -> bool:
    """Whether red, green and blue are the same everywhere (with fewer channels: yes; a fourth is transparency)."""
    return all(
        np.array_equal(pixels[rows, :, 0], pixels[rows, :, channel])
        for channel in range(1, 3 if pixels.shape[2] > 2 else 1)
        for rows in _strips(pixels)
    )


def _histogram(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Pixels per value, at least 256 long."""
    counts = np.zeros(np.iinfo(pixels.dtype).max + 1 if pixels.dtype == np.uint16 else 256, np.int64)
    for rows in _strips(pixels):
        counts += np.bincount(pixels[rows].reshape(-1), minlength=len(counts))
    return counts


def _strips(pixels: NDArray[Any]) -> Iterator[slice]:
    step = max(1, _STRIP // pixels.shape[1])
    return (slice(top, top + step) for top in range(0, pixels.shape[0], step))
