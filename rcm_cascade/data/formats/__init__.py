"""Image files into arrays, and the pixel size that they state; one file here a family of formats.

The format is recognised by a file's first bytes, and the size is checked before anything is decoded.
"""

import importlib
import pkgutil
import warnings
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.formats.base import FileWarning, Pixels, Stated, format_of, in_one_sentence
from rcm_cascade.data.resample import ResolutionWarning
from rcm_cascade.errors import InputError

for _file in pkgutil.iter_modules(__path__):  # each makes its formats known: adding one is adding a file
    importlib.import_module(f"{__name__}.{_file.name}")

PixelSizeSource = Literal["given", "manifest", "file", "dataset", "assumed", "unknown"]
"""Where a pixel size is from; *given* and *assumed* are what annotation makes of the manifest's and the data set's."""

_MAX_ANISOTROPY: Final = 0.01


def read_image(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey levels of a mosaic, ``(H, W)``, uint8 or uint16 as stored.

    Colour gives its ITU-R 601 luma (equal channels: exactly one of them); transparency is dropped, palettes are looked
    up, white-is-zero is inverted. Of a pyramid, the full resolution is read. Warns with a `FileWarning` if one of
    several pictures in the file was chosen, or parts of it were never written.

    Raises:
        InputError: if the file is missing, empty, damaged, truncated, no image in one of the formats, larger than
            `MAX_PIXELS`, not 8 or 16 bit, in another colour space than grey, RGB and YCbCr, stored turned, or holds
            several images.
    """
    with in_one_sentence(path):
        read = format_of(path).read(path)
        dtype, shape = read.values.dtype, read.values.shape
        if dtype not in (bool, np.uint8, np.uint16) or len(shape) not in (2, 3) or max(shape[2:], default=0) > 4:
            raise InputError(
                f"{path} has pixels of {dtype} and shape {shape}; expected 8- or 16-bit grey or RGB: convert the image"
            )
        grey = _grey_levels(read)
    if read.note:
        warnings.warn(read.note, FileWarning, stacklevel=2)
    return grey


def stored_pixel_size(path: Path) -> float | None:
    """µm per pixel as the file states it; None: it says nothing about tissue.

    Warns with a `ResolutionWarning` of what it says and does not count, or cannot be read: good pixels are not refused
    for their metadata.

    Raises:
        InputError: if the file is missing, empty or no image, or its pixels are more than 1 % off square.
    """
    format_ = format_of(path)
    try:
        with in_one_sentence(path):
            stated = format_.pixel_size(path)
    except InputError:  # which reading the pixels says, if it is about more than the pixel size
        stated = Stated(note=f"the pixel size that {path} may state cannot be read; it is ignored")
    if stated.note:
        warnings.warn(stated.note, ResolutionWarning, stacklevel=2)
    if stated.size is None:
        return None
    x, y = stated.size
    if abs(x - y) > _MAX_ANISOTROPY * min(x, y):
        raise InputError(
            f"{path} states pixels of {x:g} × {y:g} µm (width × height); expected square ones: resample the image, or "
            "state its pixel size in the manifest"
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


def _grey_levels(read: Pixels) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One grey channel, contiguous, as a viewer shows it."""
    values = read.values
    if read.palette is not None:
        values = values if values.ndim == 2 else values[..., 0]
        shown: NDArray[np.uint8] = _luma(read.palette[None, :, :3])[0][values]
        return shown
    if read.luma_first or (values.ndim == 3 and values.shape[2] < 3):
        values = values[..., 0]
    if values.ndim == 3:
        values = _luma(values[..., :3])
    top = 2**read.bits - 1
    if read.bits < 8:
        values = values.astype(np.uint8)
    if read.white_is_zero:
        values = values.dtype.type(top) - values
    if read.bits < 8:
        values = values * np.uint8(255 // top)
    grey: NDArray[Any] = np.ascontiguousarray(values)
    return grey


def _luma(colour: NDArray[Any]) -> NDArray[Any]:
    grey: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_RGB2GRAY)
    return grey
