"""TIFF, BigTIFF and OME-TIFF: pixels of the one page that counts, and the pixel size that the file states."""

import math
import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import tifffile

from rcm_cascade.data.formats.base import Format, Pixels, check_size
from rcm_cascade.errors import InputError

_REDUCED_OR_MASK: Final = 1 | 4  # bits of the TIFF tag NewSubfileType
_RESOLUTION_UNIT_UM: Final = {2: 25400.0, 3: 10000.0}
_SCREEN_DPI: Final = (72.0, 96.0)
_OME_UNIT_UM: Final = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0}


def read(path: Path) -> Pixels:
    """The only page, or the full resolution of a pyramid.

    Raises:
        InputError: if the file holds several images, pixels of another kind, or fewer than it says.
    """
    with tifffile.TiffFile(path) as file:
        # The chain of pages and not tifffile's series: those follow OME metadata into other files. Levels of a pyramid
        # are SubIFDs, outside the chain, or pages marked as reduced.
        pages = [p for p in file.pages if isinstance(p, tifffile.TiffPage) and not p.subfiletype & _REDUCED_OR_MASK]
        images = max(len(pages), pages[0].imagedepth, int((file.imagej_metadata or {}).get("images", 1)))
        if images != 1:
            raise InputError(
                f"{path} holds {images} images; expected one mosaic: save the one you mean as its own file"
            )
        page = pages[0]
        check_size(path, page.imagelength, page.imagewidth)
        if page.bitspersample < 8 and page.photometric != 3:
            raise InputError(f"{path} has pixels of {page.bitspersample} bit; expected 8 or 16: convert the image")
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
            pixels = ~pixels
        return Pixels(pixels, palette)


def pixel_size(path: Path) -> tuple[float, float] | None:
    """Width and height of a pixel in µm: OME metadata, else the resolution tags.

    A resolution without unit, or one of 72 or 96 dpi (a screen's, written by default), says nothing about tissue.
    """
    with tifffile.TiffFile(path) as file:
        size = _ome_pixel_size(file.ome_metadata) if file.ome_metadata else None
        return size or _tag_pixel_size(file.pages.first)


def _ome_pixel_size(metadata: str) -> tuple[float, float] | None:
    """Width and height of a pixel in µm from OME-XML."""
    pixels = ElementTree.fromstring(metadata).find(".//{*}Image/{*}Pixels")
    x, y = (None if pixels is None else _ome_length(pixels, axis) for axis in "XY")
    return None if x is None else (x, x if y is None else y)


def _ome_length(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = re.sub("[\u00b5\u03bc]", "u", pixels.get(f"PhysicalSize{axis}Unit", "um").strip())
    try:
        length = float(pixels.get(f"PhysicalSize{axis}", "")) * _OME_UNIT_UM[unit]
    except (KeyError, ValueError):  # no unit of length; none, or no number
        return None
    return length if 0 < length < math.inf else None


def _tag_pixel_size(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Width and height of a pixel in µm from XResolution, YResolution and ResolutionUnit."""
    um = _RESOLUTION_UNIT_UM.get(page.resolutionunit)
    if um is None or "XResolution" not in page.tags:
        return None
    x, y = (per_unit and um / per_unit for per_unit in page.resolution)
    screen = any(math.isclose(25400 / size, dpi, rel_tol=0.005) for size in (x, y) if size for dpi in _SCREEN_DPI)
    return None if screen or not x or not y else (x, y)


Format("TIFF", (".tif", ".tiff", ".btf"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), read, pixel_size)
