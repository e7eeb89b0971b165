"""Fields of a mosaic sorted into a folder a class, with row and column in their names: weak labels."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.source import Drawn, Labelled, Reader, Shape, stem_of, unlabelled

_NAME: Final = re.compile(r"(.*?)[ _.-]*(?:r|row|y)?[ _-]?(\d+)[ _.x,-]+(?:c|col|column|x)?[ _-]?(\d+)", re.I)


@dataclass(frozen=True)
class _Tile:
    path: Path
    row: int
    col: int
    id: int


def _tiles(folder: Path, meanings: Meanings) -> dict[str, list[_Tile]]:
    found = defaultdict(list)
    for inner in sorted(p for p in folder.iterdir() if p.is_dir()):
        id_ = meanings.of(inner.name)
        for path in sorted(inner.iterdir()) if id_ is not None else []:
            match = _NAME.fullmatch(stem_of(path.name))
            if match and path.name.lower().endswith(suffixes()):
                found[match[1] or folder.name].append(_Tile(path, int(match[2]), int(match[3]), id_ or 0))
    return found


def _read(folder: Path, meanings: Meanings) -> Iterator[Labelled]:
    strange = [p.name for p in sorted(folder.iterdir()) if p.is_dir() and meanings.of(p.name) is None]
    for stem, tiles in _tiles(folder, meanings).items():
        yield Labelled(stem, folder, partial(_draw, tiles, strange), weak=True)


def _draw(tiles: list[_Tile], strange: list[str], shape: Shape) -> Drawn:
    height, width = read_image(tiles[0].path).shape
    first = min(min(tile.row for tile in tiles), min(tile.col for tile in tiles), 1)
    labels = unlabelled(shape)
    notes = [f"folder {name!r} is of no known class and was left out" for name in strange]
    for tile in tiles:
        top, left = (tile.row - first) * height, (tile.col - first) * width
        part = labels[top : top + height, left : left + width]
        if not part.size:
            raise InputError(
                f"{tile.path} would lie at row {top}, column {left} of a mosaic of {shape[0]} × {shape[1]} px; "
                f"expected tiles of {height} × {width} px of this mosaic, numbered from 0 or 1"
            )
        if (part != UNLABELLED).any():
            notes.append(f"{tile.path.name} is sorted into two classes: the later folder counts")
        part[:] = tile.id
    return Drawn(labels, notes)


Reader(
    "tiles",
    "folders named by class, of tiles named by row and column",
    lambda path, meanings: path.is_dir() and bool(_tiles(path, meanings)),
    _read,
    rank=1,
)
