"""ImageJ's and Fiji's RoiSet.zip and .roi files."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.polygons import Rings, area, burn
from rcm_cascade.importers.source import Drawn, Labelled, Reader, Shape, stem_of


def _read(path: Path, meanings: Meanings) -> Iterator[Labelled]:
    yield Labelled(stem_of(path.name), path, partial(_draw, path, meanings))


def _draw(path: Path, meanings: Meanings, shape: Shape) -> Drawn:
    try:
        import roifile
    except ImportError as error:
        raise InputError(f"{path} needs roifile, which is not installed: pip install 'rcm-cascade[import]'") from error
    try:
        read: Any = roifile.roiread(path)
        rois = read if isinstance(read, list) else [read]
        outlines = [(roi.name or "", [np.asarray(r, np.float64) for r in roi.coordinates(multi=True)]) for roi in rois]
    except Exception as error:  # of damaged files, of many kinds
        raise InputError(f"{path} cannot be read as ROIs of ImageJ ({error}); save them again") from error
    shapes: list[tuple[float, int, Rings]] = []
    notes = []
    for name, rings in outlines:
        word = re.sub(r"[\W_\d]+$", "", name)  # ring-0012: ImageJ numbers what has one name
        id_ = meanings.of(word)
        rings = [ring for ring in rings if len(ring) >= 3]
        if id_ is None or not rings:
            fault = "is of no known class" if rings else "is no area"
            notes.append(f"ROI {name!r} {fault} and was left out")
            continue
        shapes.append((_extent(rings), id_, rings))
    labels, overlaps = burn(shapes, shape)
    if overlaps:
        notes.append(f"{overlaps} px lie in ROIs of several classes: the smaller ROI counts")
    return Drawn(labels, notes)


def _extent(rings: list[NDArray[np.float64]]) -> float:
    return max(area([ring]) for ring in rings)


Reader(
    "imagej",
    "RoiSet.zip and .roi of ImageJ",
    lambda path, _: path.is_file() and path.suffix.lower() in (".zip", ".roi"),
    _read,
)
