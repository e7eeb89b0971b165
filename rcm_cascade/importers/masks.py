"""Painted label maps: a mask a class, index masks, and colours."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.formats.base import format_of, in_one_sentence, suffixes
from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.source import (
    LISTED,
    Drawn,
    Labelled,
    Reader,
    Shape,
    by_value,
    fitting,
    merged,
    place,
    stem_of,
    unlabelled,
)
from rcm_cascade.importers.volumes import SUFFIXES as VOLUMES
from rcm_cascade.importers.volumes import read_volume

_REACH: Final = 3
"""Px from a smoothed edge to the colours on its two sides."""

_BLEND: Final = 12.0
"""Grey levels by which a colour may lie beside the line between two of the table and still be a blend of them."""


def read_mask(path: Path) -> NDArray[Any]:
    """Stored values ``(H, W)`` or ``(H, W, 3)`` of an image or a volume of one slice; a palette's indices."""
    if path.suffix.lower() in VOLUMES:
        return read_volume(path)
    with in_one_sentence(path):
        read = format_of(path).read(path)
        if read.lossy:
            raise InputError(f"{path} is a {read.lossy}, which blurs labels into one another; export it as PNG or TIFF")
        values = read.values[..., :-1] if read.alpha and read.values.ndim == 3 else read.values
        if values.ndim == 3 and (values == values[..., :1]).all():
            values = values[..., 0]
        return values


def split_name(path: Path, meanings: Meanings) -> tuple[str, int] | None:
    """Stem of the mosaic and class id of a mask such as ``mosaic_ring.png`` or ``ring.nrrd``; None: it names none."""
    stem = stem_of(path.name)
    words = [i for i, c in enumerate(stem) if not c.isalnum()]
    for start in (-1, *words):  # the longest ending first
        id_ = meanings.of(stem[start + 1 :])
        if id_ is not None:
            return stem[: max(start, 0)].rstrip(" _-") or path.parent.name, id_
    return None


def _masks(folder: Path, meanings: Meanings) -> dict[str, list[tuple[Path, int]]]:
    found = defaultdict(list)
    for path in sorted(folder.iterdir()):
        named = split_name(path, meanings) if path.name.lower().endswith((*suffixes(), *VOLUMES)) else None
        if named:
            found[named[0]].append((path, named[1]))
    return found


def _read_masks(folder: Path, meanings: Meanings) -> Iterator[Labelled]:
    for stem, masks in _masks(folder, meanings).items():
        yield Labelled(stem, folder, partial(_draw_masks, masks))


def _draw_masks(masks: list[tuple[Path, int]], shape: Shape) -> Drawn:
    layers, notes = [], []
    for path, id_ in masks:
        mask = fitting(path, read_mask(path), shape)
        values = np.unique(mask)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            listed = ", ".join(f"{v:g}" for v in values[:LISTED])
            raise InputError(f"{path} is no mask of one class: its values are {listed}; expected 0 and one other")
        drawn = mask > 0
        if not drawn.any():
            notes.append(f"{path.name} is empty")
        layers.append((drawn, id_))
    return merged("masks", layers, notes, shape)


def _read_painted(path: Path, meanings: Meanings) -> Iterator[Labelled]:
    yield Labelled(stem_of(path.name), path, partial(_draw_painted, path, meanings))


def _draw_painted(path: Path, meanings: Meanings, shape: Shape) -> Drawn:
    values = read_mask(path)
    if values.ndim == 3:
        return _draw_colours(path, values, meanings, shape)
    return Drawn(by_value(path, fitting(path, values, shape), meanings.ids))


def _draw_colours(path: Path, picture: NDArray[Any], meanings: Meanings, shape: Shape) -> Drawn:
    if picture.dtype != np.uint8 or picture.shape[2] != 3:
        raise InputError(f"{path} is no 8-bit colour picture; export it as RGB")
    coded = picture[..., 0].astype(np.int64) << 16 | picture[..., 1].astype(np.int64) << 8 | picture[..., 2]
    fitting(path, coded, shape)
    labels = unlabelled(shape)
    known = np.zeros(shape, bool)
    for (red, green, blue), id_ in meanings.colours.items():
        own = coded == (red << 16 | green << 8 | blue)
        labels[own] = id_
        known |= own
    if known.all():
        return Drawn(labels)
    blends = _blends(picture, labels, known, meanings)
    other = ~known & ~blends
    if other.any():
        codes, first, counts = np.unique(coded[other], return_index=True, return_counts=True)
        rows, cols = np.nonzero(other)
        listed = "; ".join(
            f"#{codes[i]:06x} ({counts[i]} px, first at row {rows[first[i]]}, column {cols[first[i]]})"
            for i in np.argsort(-counts)[:LISTED]
        )
        raise InputError(
            f"{path} has {int(other.sum())} px of {len(codes)} colours that mean no class: {listed}; say what they "
            "mean with --table FILE, under the key colours ('#rrggbb': class, or unlabelled)"
        )
    return Drawn(labels, [f"{place(blends)} at edges between classes are blends of their colours: left unlabelled"])


def _blends(
    picture: NDArray[np.uint8], labels: NDArray[np.uint8], known: NDArray[np.bool_], meanings: Meanings
) -> NDArray[np.bool_]:
    """Pixels between two colours of the table, both of which lie within `_REACH`: what anti-aliasing leaves."""
    found = np.zeros(known.shape, bool)
    rows, cols = np.nonzero(~known)
    colours = picture[rows, cols].astype(np.float64)
    pairs = list(meanings.colours.items())
    near = {}
    for colour, id_ in pairs:
        own = (known & (labels == id_)).astype(np.uint8)
        near[colour] = cv2.dilate(own, np.ones((2 * _REACH + 1,) * 2, np.uint8))[rows, cols] == 1
    for index, (first, _) in enumerate(pairs):
        for second, _ in pairs[index + 1 :]:
            a, b = np.array(first, float), np.array(second, float)
            along = np.clip((colours - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            beside = np.linalg.norm(colours - (a + along[:, None] * (b - a)), axis=1)
            found[rows, cols] |= near[first] & near[second] & (beside <= _BLEND)
    return found


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(suffixes())


Reader(
    "masks",
    "a folder of masks, one a class, named by it (Seg3D)",
    lambda path, meanings: path.is_dir() and bool(_masks(path, meanings)),
    _read_masks,
)
Reader(
    "painted", "pictures of ids, or in the classes' colours", lambda path, _: _is_picture(path), _read_painted, rank=1
)
