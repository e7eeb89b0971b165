"""``STEM.labels.ome.tif``: class ids for viewers and programs."""

from pathlib import Path
from typing import Any, Final

import tifffile

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.journal import MAKER

SUFFIX: Final = ".labels.ome.tif"

TILE: Final = 512
"""Px of a tile's side; the pyramid ends where one tile holds the mosaic."""

BIGTIFF_BYTES: Final = 2**31
"""Labels of more bytes go into a BigTIFF, compressed or not."""


def write(path: Path, stem: str, annotated: MosaicAnnotation) -> None:
    """Writes class ids as a tiled, deflated OME-TIFF whose pyramid halves to one tile, each pixel the nearest id.

    Its name in viewers is the file's; the description names the classes, what the network was trained on, maker and
    mosaic.
    """
    labels, pixel_size_um = annotated.labels, annotated.pixel_size_um
    levels = ((max(labels.shape) - 1) // TILE).bit_length()
    source = f"{MAKER}, from SHA-256 {annotated.source_sha256}" if annotated.source_sha256 else MAKER
    named = ", ".join(f"{c.id} {c.name}" for c in annotated.classes.classes)
    description: dict[str, Any] = {
        "axes": "YX",
        "Name": stem + SUFFIX,
        "Channel": {"Name": ["class id"]},
        "Description": "; ".join(filter(None, (named, annotated.note, source))),
    }
    if pixel_size_um is not None:
        description |= {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
        description |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    top = {"subifds": levels, "metadata": description, "software": MAKER}
    with tifffile.TiffWriter(path, ome=True, bigtiff=labels.nbytes > BIGTIFF_BYTES) as file:
        for level in range(levels + 1):
            per_cm = None if pixel_size_um is None else 1e4 / (pixel_size_um * 2**level)
            file.write(
                labels[:: 1 << level, :: 1 << level],
                tile=(TILE, TILE),
                compression="adobe_deflate",
                photometric="minisblack",
                resolution=None if per_cm is None else (per_cm, per_cm),
                resolutionunit=None if per_cm is None else "CENTIMETER",
                **(top if level == 0 else {"subfiletype": 1, "metadata": None}),
            )
