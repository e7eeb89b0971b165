"""Image and label files into arrays, and the pixel size that they state; one file here a family of formats.

The format is recognised by a file's first bytes, and the size is checked before anything is decoded.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.formats.base import FORMATS, Format, Pixels, in_one_sentence, readable
from rcm_cascade.data.intensity import count_values
from rcm_cascade.errors import InputError

for _file in pkgutil.iter_modules(__path__):  # each makes its formats known: adding one is adding a file
    importlib.import_module(f"{__name__}.{_file.name}")

PixelSizeSource = Literal["given", "manifest", "file", "dataset", "assumed", "unknown"]
"""Where a pixel size is from; *given* and *assumed* are what annotation makes of the manifest's and the data set's."""

_MAX_ANISOTROPY: Final = 0.01


def read_image(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey levels of a mosaic, ``(H, W)``, uint8 or uint16 as stored.

    Colour gives its ITU-R 601 luma (equal channels: exactly one of them); transparency is dropped, palettes are looked
    up, white-is-zero is inverted. Of a pyramid, the full resolution is read.

    Raises:
        InputError: if the file is missing, empty, damaged, no image in one of the formats, larger than `MAX_PIXELS`,
            not 8 or 16 bit, or holds several images.
    """
    with in_one_sentence(path):
        pixels, palette = _read(path, _format_of(path))
        return _to_grey(pixels) if palette is None else _to_grey(palette[None])[0][pixels]


def read_labels(path: Path, classes: ClassTable, shape: tuple[int, int]) -> NDArray[np.uint8]:
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
    with in_one_sentence(path):
        format_ = _format_of(path)
        if format_.lossy:
            raise InputError(
                f"label map {path} is a {format_.name}, which blurs ids into one another; save it as a "
                "greyscale PNG or TIFF"
            )
        pixels, palette = _read(path, format_)
        if palette is not None:
            used = np.flatnonzero(count_values(pixels)[: len(palette)])
            greys = palette[used].astype(np.int64)
            if (greys == greys[:, :1]).all() and np.isin(greys[:, 0], [*range(len(classes)), UNLABELLED]).all():
                pixels = palette[:, 0][pixels]
        elif pixels.ndim == 3 and pixels.shape[2] > 2 and not (pixels[..., 1:3] == pixels[..., :1]).all():
            raise InputError(
                f"label map {path} is a colour picture; expected one grey value (the class id) or palette index a "
                "pixel: save it as a greyscale PNG or TIFF"
            )
        if pixels.ndim == 3:
            pixels = pixels[..., 0]
        if pixels.shape != shape:
            size, expected = (" × ".join(map(str, given)) for given in (pixels.shape, shape))
            raise InputError(
                f"label map {path} is {size} px, its mosaic {expected} px (height × width); give a label map of the "
                "mosaic's own size"
            )
        counts = count_values(pixels, 256 if pixels.dtype == np.uint8 else 65536)
        counts[[*range(len(classes)), UNLABELLED]] = 0
        wrong = np.flatnonzero(counts)
        if len(wrong):
            shown = ", ".join(f"{value} ({counts[value]} px)" for value in wrong[:5]) + ", …" * (len(wrong) > 5)
            raise InputError(
                f"label map {path} holds {shown}; expected class ids 0–{len(classes) - 1} and {UNLABELLED} for "
                "unlabelled: correct the label map or the classes of dataset.yaml"
            )
        return np.ascontiguousarray(pixels, np.uint8)


def stored_pixel_size(path: Path) -> float | None:
    """µm per pixel as the file states it; None: it says nothing about tissue.

    Raises:
        InputError: if the file is missing, empty or damaged, or its pixels are more than 1 % off square.
    """
    with in_one_sentence(path):
        size = _format_of(path).pixel_size(path)
        if size is None:
            return None
        x, y = size
        if abs(x - y) > _MAX_ANISOTROPY * min(x, y):
            raise InputError(
                f"{path} states pixels of {x:g} × {y:g} µm (width × height); expected square ones: resample the image"
            )
        return x


def pixel_size(
    path: Path, manifest_value: float | None, dataset_value: float | None
) -> tuple[float | None, PixelSizeSource]:
    """µm per pixel and where that is from: the manifest, else the file, else dataset.yaml.

    Raises:
        InputError: as `stored_pixel_size`.
    """
    if manifest_value is not None:
        return manifest_value, "manifest"
    stored = stored_pixel_size(path)
    if stored is not None:
        return stored, "file"
    return dataset_value, "unknown" if dataset_value is None else "dataset"


def _format_of(path: Path) -> Format:
    """By a file's first bytes."""
    expected = f"expected an image file, {readable()}"
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); {expected}: check the path") from error
    for format_ in FORMATS.values():
        if start.startswith(format_.starts):
            return format_
    raise InputError(f"{path} is no image this program reads; {expected}: export it as one of these")


def _read(path: Path, format_: Format) -> Pixels:
    """The pixels of a file, 8- or 16-bit grey or colour."""
    read = format_.read(path)
    dtype, shape = read.values.dtype, read.values.shape
    if dtype not in (np.uint8, np.uint16) or len(shape) not in (2, 3) or max(shape[2:], default=0) > 4:
        raise InputError(
            f"{path} has pixels of {dtype} and shape {shape}; expected 8- or 16-bit grey or RGB: convert the image"
        )
    return read


def _to_grey(pixels: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One grey channel, contiguous, of pixels ``(H, W)`` or ``(H, W, channels)``."""
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])
    grey: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
    return grey
