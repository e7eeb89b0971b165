"""NRRD and MetaImage of one slice: Seg3D's labels, and segmentations of 3D Slicer."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.source import Drawn, Labelled, Reader, Shape, by_value, fitting, merged, place, stem_of

SUFFIXES: Final = (".nrrd", ".nhdr", ".mha", ".mhd")

_TOWARDS_LPS: Final = {"R": -1, "L": 1, "A": -1, "P": 1, "S": 1, "I": -1}
_EXTRA: Final = "pip install 'rcm-cascade[import]'"


def read_volume(path: Path) -> NDArray[Any]:
    """The one slice ``(H, W)`` of a volume, rows downwards.

    Raises:
        InputError: if it cannot be read, or has several slices.
    """
    values, header = (_nrrd if path.suffix.lower() in (".nrrd", ".nhdr") else _meta_image)(path)
    return _upright(path, values, header)


def _nrrd(path: Path) -> tuple[NDArray[Any], Mapping[str, Any]]:
    try:
        import nrrd
    except ImportError as error:
        raise InputError(f"{path} needs pynrrd, which is not installed: {_EXTRA}") from error
    try:
        values, header = nrrd.read(str(path), index_order="C")
    except Exception as error:  # of damaged files, of many kinds
        raise InputError(f"{path} cannot be read as NRRD ({error}); export it again") from error
    return values, header


def _meta_image(path: Path) -> tuple[NDArray[Any], Mapping[str, Any]]:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(f"{path} needs SimpleITK, which is not installed: {_EXTRA}") from error
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as MetaImage; export it again") from error
    size = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(size, size).T
    return SimpleITK.GetArrayFromImage(image), {"space": "left-posterior-superior", "space directions": directions}


def _upright(path: Path, values: NDArray[Any], header: Mapping[str, Any]) -> NDArray[Any]:
    """Without axes of length 1, and with rows from anterior to posterior and columns from right to left, as ITK has it.

    Args:
        path: for messages.
        values: C order: the last axis is the first of the header.
        header: of NRRD.
    """
    if values.ndim > 2 and sum(n > 1 for n in values.shape[:-2]):
        raise InputError(f"{path} has the shape {values.shape}; expected one slice: export the one that is the mosaic")
    plane = values.reshape(values.shape[-2:])
    signs = _signs(header)
    return plane[:: signs[1], :: signs[0]]


def _signs(header: Mapping[str, Any]) -> tuple[int, int]:
    """1 or -1 for columns and rows: whether they run to the left and to the back."""
    directions = header.get("space directions")
    if directions is None:
        return 1, 1
    space = str(header.get("space", "left-posterior-superior"))
    letters = [word[0].upper() for word in re.split("[- ]", space)] if "-" in space else list(space.upper())
    found = []
    rows = [np.asarray(row, float) for row in directions if row is not None and np.isfinite(row).all()]
    for direction in rows[:2]:
        axis = int(np.abs(direction).argmax())
        turned = _TOWARDS_LPS.get(letters[axis] if axis < len(letters) else "L", 1)
        found.append(int(np.sign(direction[axis]) or 1) * turned)
    return (found[0], found[1]) if len(found) == 2 else (1, 1)


def _read(path: Path, meanings: Meanings) -> Iterator[Labelled]:
    yield Labelled(stem_of(path.name), path, partial(_draw, path, meanings))


def _draw(path: Path, meanings: Meanings, shape: Shape) -> Drawn:
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        values, header = _nrrd(path)
        segments = _segments(header)
        if segments:
            return _draw_segments(path, values, header, segments, meanings, shape)
    return Drawn(by_value(path, fitting(path, read_volume(path), shape), meanings.ids))


def _segments(header: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Name, layer and value of each segment of 3D Slicer."""
    found: list[tuple[str, int, int]] = []
    while f"Segment{len(found)}_Name" in header:
        key, next_value = f"Segment{len(found)}_", len(found) + 1
        found.append(
            (
                header[key + "Name"],
                int(header.get(key + "Layer", 0)),
                int(header.get(key + "LabelValue", next_value)),
            )
        )
    return found


def _draw_segments(
    path: Path, values: NDArray[Any], header: Mapping[str, Any], segments: list[tuple[str, int, int]],
    meanings: Meanings, shape: Shape,
) -> Drawn:  # fmt: skip
    layers, notes = [], []
    for name, layer, value in segments:
        plane = values[..., layer] if values.ndim == 4 else values
        mask = _in_reference(path, _upright(path, plane, header) == value, header, shape)
        id_ = meanings.of(name)
        if id_ is None:
            notes.append(f"segment {name!r} ({place(mask)}) is of no known class and was left out")
        else:
            layers.append((mask, id_))
    return merged("segments", layers, notes, shape)


def _in_reference(path: Path, mask: NDArray[np.bool_], header: Mapping[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """Slicer saves the box that is drawn on, and where that lies in the image."""
    offset = header.get("Segmentation_ReferenceImageExtentOffset")
    if mask.shape == shape or offset is None:
        return fitting(path, mask, shape)
    left, top = (int(number) for number in str(offset).split()[:2])
    signs = _signs(header)
    top = top if signs[1] > 0 else shape[0] - top - mask.shape[0]
    left = left if signs[0] > 0 else shape[1] - left - mask.shape[1]
    if top < 0 or left < 0 or top + mask.shape[0] > shape[0] or left + mask.shape[1] > shape[1]:
        raise InputError(
            f"{path} is drawn on rows {top} to {top + mask.shape[0]} and columns {left} to {left + mask.shape[1]}, its "
            f"mosaic has {shape[0]} × {shape[1]} px (height × width); give the mosaic that it was drawn on"
        )
    whole = np.zeros(shape, bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole


Reader(
    "volumes",
    "NRRD and MetaImage of one slice (Seg3D), .seg.nrrd (3D Slicer)",
    lambda path, _: path.is_file() and path.suffix.lower() in SUFFIXES,
    _read,
)
