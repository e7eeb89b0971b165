"""The pixel size of a mosaic: what the manifest, the file and dataset.yaml say."""

import math
import re
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree

import tifffile

from rcm_cascade.data.untrusted import TIFF, first_bytes, in_one_sentence
from rcm_cascade.errors import InputError

PixelSizeSource = Literal["manifest", "file", "dataset", "unknown"]

_RESOLUTION_UNIT_UM: Final = {2: 25400.0, 3: 10000.0}
_SCREEN_DPI: Final = (72.0, 96.0)
_OME_UNIT_UM: Final = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0}
_MAX_ANISOTROPY: Final = 0.01


def stored_pixel_size(path: str | Path) -> float | None:
    """µm per pixel as the file states it: OME metadata, else the TIFF resolution tags.

    A resolution without unit, one of 72 or 96 dpi (a screen's, written by default), and the densities of PNG, BMP and
    JPEG say nothing about tissue and are ignored.

    Raises:
        InputError: if the file is missing, empty or damaged, or its pixels are more than 1 % off square.
    """
    path = Path(path)
    with in_one_sentence(path):
        if not first_bytes(path).startswith(TIFF):
            return None
        with tifffile.TiffFile(path) as file:
            size = _ome_pixel_size(file.ome_metadata) if file.is_ome else None
            size = size or _tag_pixel_size(file.pages.first)
        if size is None:
            return None
        x, y = size
        if abs(x - y) > _MAX_ANISOTROPY * min(x, y):
            raise InputError(
                f"{path} states pixels of {x:g} × {y:g} µm (width × height); expected square ones: resample the image"
            )
        return x


def pixel_size(
    path: str | Path, manifest_value: float | None, dataset_value: float | None
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


def _ome_pixel_size(metadata: str | None) -> tuple[float, float] | None:
    """Width and height of a pixel in µm from OME-XML."""
    if not metadata:
        return None
    root = ElementTree.fromstring(metadata)
    pixels = root.find(".//{*}Image/{*}Pixels")
    if pixels is None:
        return None
    x = _ome_length(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))
    y = _ome_length(pixels.get("PhysicalSizeY"), pixels.get("PhysicalSizeYUnit", "µm"))
    return None if x is None else (x, x if y is None else y)


def _ome_length(value: str | None, unit: str) -> float | None:
    um = _OME_UNIT_UM.get(re.sub("[\u00b5\u03bc]", "u", unit.strip()))
    if value is None or um is None:
        return None
    try:
        length = float(value) * um
    except ValueError:
        return None
    return length if 0 < length < math.inf else None


def _tag_pixel_size(page: tifffile.TiffPage | tifffile.TiffFrame) -> tuple[float, float] | None:
    """Width and height of a pixel in µm from XResolution, YResolution and ResolutionUnit."""
    tags = (page if isinstance(page, tifffile.TiffPage) else page.aspage()).tags
    um = _RESOLUTION_UNIT_UM.get(int(tags.valueof("ResolutionUnit", 2)))
    fractions = [tags.valueof("XResolution"), tags.valueof("YResolution")]
    if um is None or fractions[0] is None:
        return None
    sizes = []
    for top, bottom in [f for f in fractions if f is not None]:
        if not top or not bottom:
            return None
        per_unit = top / bottom
        dpi = per_unit * 25400.0 / um
        if any(math.isclose(dpi, screen, rel_tol=0.005) for screen in _SCREEN_DPI):
            return None
        sizes.append(um / per_unit)
    return sizes[0], sizes[-1]
