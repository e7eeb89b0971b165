"""A map of one byte a pixel as an OME-TIFF that viewers open at any size."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.journal import MAKER

TILE: Final = 512
"""Px of a tile's side; the pyramid ends where one tile holds the mosaic."""

BIGTIFF_BYTES: Final = 2**31
"""Maps of more bytes go into a BigTIFF, compressed or not."""


def halvings(shape: tuple[int, int]) -> int:
    """How often a map must halve until one tile holds it."""
    return ((max(shape) - 1) // TILE).bit_length()


def write_pyramid(
    path: Path, pixels: NDArray[np.uint8], name: str, channel: str, what: str, annotated: MosaicAnnotation
) -> None:
    """Writes a map ``(H, W)`` tiled and deflated, with a pyramid that halves to one tile, each pixel the nearest.

    The description also says what the network was trained on, maker and mosaic.

    Args:
        path: to write.
        pixels: the map, on the mosaic's own grid.
        name: that viewers show.
        channel: name of its values.
        what: they mean, for the description.
        annotated: the mosaic.
    """
    pixel_size_um, sha256 = annotated.pixel_size_um, annotated.source_sha256
    source = f"{MAKER}, from SHA-256 {sha256}" if sha256 else MAKER
    description = "; ".join(filter(None, (what, annotated.note, source)))
    levels = halvings((pixels.shape[0], pixels.shape[1]))
    metadata: dict[str, Any] = {"axes": "YX", "Name": name, "Channel": {"Name": [channel]}, "Description": description}
    if pixel_size_um is not None:
        metadata |= {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    top = {"subifds": levels, "metadata": metadata, "software": MAKER}
    with tifffile.TiffWriter(path, ome=True, bigtiff=pixels.nbytes > BIGTIFF_BYTES) as file:
        for level in range(levels + 1):
            per_cm = None if pixel_size_um is None else 1e4 / (pixel_size_um * 2**level)
            file.write(
                pixels[:: 1 << level, :: 1 << level],
                tile=(TILE, TILE),
                compression="adobe_deflate",
                photometric="minisblack",
                resolution=None if per_cm is None else (per_cm, per_cm),
                resolutionunit=None if per_cm is None else "CENTIMETER",
                **(top if level == 0 else {"subfiletype": 1, "metadata": None}),
            )
