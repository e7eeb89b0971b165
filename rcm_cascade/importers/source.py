"""What a source is, and what it says of one mosaic."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings

Shape = tuple[int, int]


@dataclass
class Drawn:
    """The labels of one mosaic.

    Args:
        labels: ``(H, W)`` uint8.
        notes: what was not understood or had to be decided, each with its place.
    """

    labels: NDArray[np.uint8]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Labelled:
    """What a source says of one mosaic.

    Args:
        stem: by which its mosaic is found.
        source: file or folder that says it.
        draw: labels for a mosaic ``(H, W)``; None: the source brings a mosaic alone.
        image: the mosaic's file, if the source brings it.
        pixels: the mosaic ``(H, W)``, where its file is not it as it is.
        pixel_size_um: where the source knows it.
        weak: whether whole fields have one label.
    """

    stem: str
    source: Path
    draw: Callable[[Shape], Drawn] | None = None
    image: Path | None = None
    pixels: NDArray[Any] | None = None
    pixel_size_um: float | None = None
    weak: bool = False


@dataclass(frozen=True)
class Reader:
    """A kind of source. It is known once it has been made.

    Args:
        name: as ``--as`` takes it.
        what: it reads, in a few words.
        matches: whether a file or folder is one.
        read: what it says, mosaic by mosaic.
        rank: lower ones are asked first.
    """

    name: str
    what: str
    matches: Callable[[Path, Meanings], bool]
    read: Callable[[Path, Meanings], Iterator[Labelled]]
    rank: int = 0

    def __post_init__(self) -> None:
        READERS[self.name] = self


LISTED: Final = 8
"""Of values or colours that mean nothing, so many are named."""

READERS: Final[dict[str, Reader]] = {}


_ENDINGS: Final = (
    *(".ome", ".seg", ".labels", ".label_next", ".geojson", ".json", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip", ".roi"),
    *("labels", "label", "mask", "masks", "seg", "segmentation", "annotation", "annotations", "truth", "gt", "roiset"),
)


def stem_of(name: str) -> str:
    """What names a mosaic in the name of a file of it or of its labels: ``a`` of ``a.tif - annotations.geojson``."""
    endings = (*_ENDINGS, *suffixes())
    while True:
        shorter = next((name[: -len(e)] for e in endings if _ends(name, e)), name).rstrip(" _-.")
        if shorter == name or not shorter:
            return unicodedata.normalize("NFC", name)
        name = shorter


def _ends(name: str, ending: str) -> bool:
    lower = name.lower()
    whole = ending.startswith(".") or not lower[: -len(ending)][-1:].isalnum()
    return len(name) > len(ending) and lower.endswith(ending) and whole


def unlabelled(shape: Shape) -> NDArray[np.uint8]:
    """A label map on which nothing is drawn."""
    return np.full(shape, UNLABELLED, np.uint8)


def fitting(path: Path, array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """A mask, if it is of its mosaic's size.

    Raises:
        InputError: if it is not, saying what would fit.
    """
    if array.shape == shape:
        return array
    if array.ndim != 2:
        raise InputError(f"{path} is a colour picture; expected one value a px: export it in grey, or as one picture")
    (height, width), (rows, cols) = shape, array.shape
    if (cols, rows) == shape:
        advice = "it would fit turned by 90° (rows and columns exchanged): turn it, and see that it lies right"
    elif max(abs(rows - height), abs(cols - width)) <= 2:
        advice = (
            f"it is {rows - height:+d} rows and {cols - width:+d} columns off: cut it, or fill it up with unlabelled "
            "px, on the side where the tool lost them"
        )
    elif abs(rows / height - cols / width) < 0.01 * rows / height:
        advice = f"it would fit at {height / rows:g} times its size: resample it by the nearest neighbour"
    else:
        advice = "it is of another mosaic, or of a part of it: give the one that it was drawn on"
    raise InputError(f"{path} is {rows} × {cols} px, its mosaic {height} × {width} px (height × width); {advice}")


def place(mask: NDArray[np.bool_]) -> str:
    """Where the first pixel of a mask lies, and how many there are."""
    row, col = np.unravel_index(int(mask.argmax()), mask.shape)
    return f"{int(mask.sum())} px, first at row {row}, column {col}"


def by_value(path: Path, values: NDArray[Any], ids: Mapping[int, int]) -> NDArray[np.uint8]:
    """Class ids of stored values.

    Raises:
        InputError: if a value has no class, naming it, its place and the remedy.
    """
    labels = unlabelled((values.shape[0], values.shape[1]))
    found = np.unique(values)
    unknown = [value for value in found.tolist() if value not in ids]
    if unknown:
        listed = "; ".join(f"{v:g} ({place(values == v)})" for v in unknown[:LISTED])
        raise InputError(
            f"{path} has values that mean no class: {listed}; say what they mean with --table FILE, under the key ids "
            "(value: class, or unlabelled)"
        )
    for value in found.tolist():
        labels[values == value] = ids[value]
    return labels


def merged(what: str, layers: Iterable[tuple[NDArray[np.bool_], int]], notes: Sequence[str], shape: Shape) -> Drawn:
    """Layers of one class each into a label map; where several classes lie, nobody knows which is meant.

    Args:
        what: they are called, for the note.
        layers: pixels ``(H, W)`` and class id of each.
        notes: of reading them.
        shape: height and width in px.
    """
    labels, contested = unlabelled(shape), np.zeros(shape, bool)
    for drawn, id_ in layers:
        contested |= drawn & (labels != UNLABELLED) & (labels != id_)
        labels[drawn] = id_
    if not contested.any():
        return Drawn(labels, list(notes))
    labels[contested] = UNLABELLED
    return Drawn(labels, [*notes, f"{what} of several classes overlap ({place(contested)}): left unlabelled"])
