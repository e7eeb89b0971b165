"""Label maps from files: ids as stored, never as a picture would show them."""

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.formats.base import FileWarning, Pixels, format_of, in_one_sentence
from rcm_cascade.data.intensity import count_values
from rcm_cascade.errors import InputError

_LISTED: Final = 5
_BY_CHANCE: Final = ((0, 0, 0), (255, 255, 255))  # colours that any palette has


def read_labels(path: Path, classes: ClassTable, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A label map, ``(H, W)`` uint8: class ids and 255 where unlabelled.

    The stored value is the class id, whatever the bit depth and whether it would be shown inverted; in a picture with a
    palette it is the index, whatever the colours. What is transparent is unlabelled. Warns with a `FileWarning` of a
    map of one bit a pixel, and of one of several pictures in the file.

    Args:
        path: of a greyscale or palette PNG, TIFF or BMP.
        classes: the ids that may occur.
        shape: height and width of the mosaic, in px.

    Raises:
        InputError: as `read_image`, and if the size is not the mosaic's, the picture is coloured, compressed by a codec
            that may be lossy or partly transparent, a value is neither an id nor 255, or a palette can be read in two
            ways.
    """
    with in_one_sentence(path):
        read = format_of(path).read(path)
        if read.lossy:
            raise InputError(
                f"label map {path} is a {read.lossy}, which may blur ids into one another; save it as a greyscale PNG "
                "or TIFF"
            )
        if not read.whole:
            raise InputError(f"parts of label map {path} were never written; save it whole")
        values, opacity = _ids(path, read)
        if values.shape != shape:
            size, expected = (" × ".join(map(str, given)) for given in (values.shape, shape))
            raise InputError(
                f"label map {path} is {size} px, its mosaic {expected} px (height × width); give a label map of the "
                "mosaic's own size"
            )
        if read.palette is not None:
            _refuse_two_readings(path, values, opacity, read.palette, classes)
        ids = values.astype(np.uint8)  # a copy, which may be written to
        if opacity is not None:
            top = 255 if opacity.dtype == np.uint8 else 65535
            hidden = opacity == 0
            if not (hidden | (opacity == top)).all():
                raise InputError(
                    f"label map {path} is partly transparent; expected pixels that are wholly opaque, or wholly "
                    "transparent for unlabelled: save it as a greyscale PNG or TIFF without transparency"
                )
            ids[hidden] = UNLABELLED
            values = np.where(hidden, UNLABELLED, values)
        _refuse_unknown(path, values, ids, len(classes))
    if read.bits == 1:
        warnings.warn(f"label map {path} has one bit a pixel, read as the ids 0 and 1", FileWarning, stacklevel=2)
    if read.note:
        warnings.warn(read.note, FileWarning, stacklevel=2)
    return ids


def _ids(path: Path, read: Pixels) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The stored values ``(H, W)``, and their opacity where the file has one."""
    values = read.values
    opacity = values[..., -1] if read.alpha else None
    if (
        read.palette is not None
        and values.ndim == 2
        and read.palette.shape[1] == 4
        and (read.palette[:, 3] < 255).any()
    ):
        opacity = read.palette[:, 3][values]
    if values.ndim == 3:
        colours = values[..., :-1] if read.alpha else values
        if not (colours == colours[..., :1]).all():
            raise InputError(
                f"label map {path} is a colour picture; expected one grey value (the class id) or palette index a "
                "pixel: save it as a greyscale PNG or TIFF of ids, or import it with a table of its colours"
            )
        values = colours[..., 0]
    return values, opacity


def _refuse_two_readings(
    path: Path, indices: NDArray[Any], opacity: NDArray[Any] | None, palette: NDArray[np.uint8], classes: ClassTable
) -> None:
    """Refuses a palette whose colours contradict its indices: an optimiser may have rewritten a greyscale map.

    Raises:
        InputError: naming both readings.
    """
    if opacity is None and indices.dtype == np.uint8:
        used = np.flatnonzero(count_values(indices))
    else:  # the colours of what is transparent say nothing
        used = np.unique(indices if opacity is None else indices[opacity > 0])
    colours = palette[used, :3]
    greys = colours[:, 0].tolist()
    ids = {*range(len(classes)), UNLABELLED}
    shades = (colours == colours[:, :1]).all() and set(greys) <= ids and any(0 < grey < 255 for grey in greys)
    owners: dict[tuple[int, ...], set[int]] = {}
    for id_ in ids:
        owners.setdefault(tuple(classes.palette()[id_].tolist()), set()).add(id_)
    named = [
        (int(index), min(owners[colour]))
        for index, colour in zip(used, map(tuple, colours.tolist()), strict=True)
        if colour not in _BY_CHANCE and index not in owners.get(colour, {index})
    ]
    other = greys if shades else [colour for _, colour in named]
    of_these = used.tolist() if shades else [index for index, _ in named]
    if other != of_these:
        raise InputError(
            f"label map {path} has a palette that can be read in two ways: its indices {_listed(of_these)} have the "
            f"{'grey levels' if shades else 'colours of the classes'} {_listed(other)}; save it as a greyscale PNG or "
            "TIFF of ids"
        )


def _refuse_unknown(path: Path, values: NDArray[Any], ids: NDArray[np.uint8], classes: int) -> None:
    counts = count_values(ids)
    counts[[*range(classes), UNLABELLED]] = 0
    if not counts.any() and (values.dtype == np.uint8 or np.array_equal(ids, values)):
        return
    known = (ids == values) & ((ids < classes) | (ids == UNLABELLED))
    places = np.flatnonzero(~known)
    wrong, first, counts = np.unique(values.reshape(-1)[places], return_index=True, return_counts=True)
    width = values.shape[1]
    shown = [
        f"{value:g} ({count} px, first at row {places[at] // width}, column {places[at] % width})"
        for value, at, count in zip(wrong[:_LISTED].tolist(), first, counts, strict=False)
    ]
    raise InputError(
        f"label map {path} holds {', '.join(shown)}{', …' * (len(wrong) > _LISTED)}; expected class ids "
        f"0–{classes - 1} and {UNLABELLED} for unlabelled: correct the label map or the classes of dataset.yaml"
    )


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:8])) + ", …" * (len(ids) > 8)
