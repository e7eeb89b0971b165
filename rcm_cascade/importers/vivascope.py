"""Exports of a VivaScope: mosaics as BMP, and numbered frames of 0.5 mm, with or without a strip of text below."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.formats import read_image
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.source import Labelled, Reader

FIELD_PX: Final = 1000
FIELD_UM: Final = 500.0
_FRAME: Final = re.compile(r"[vm]?(\d{4,})", re.I)
_STRIP_ROWS: Final = 100


def _pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Mosaics and numbered frames."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(suffixes()))
    frames = [p for p in files if _FRAME.fullmatch(p.stem)]
    return [p for p in files if p not in frames], frames


def _matches(path: Path, meanings: Meanings) -> bool:
    return path.is_dir() and path.name.lower().startswith(("vivablock", "vivastack")) and any(_pictures(path))


def _read(folder: Path, meanings: Meanings) -> Iterator[Labelled]:
    blocks, frames = _pictures(folder)
    stem = f"{folder.parent.name} {folder.name}".strip()
    for path in blocks or frames:
        pixels = read_image(path)
        cut = without_strip(pixels)
        size = FIELD_UM / FIELD_PX if cut.shape[1] % FIELD_PX == 0 else None
        name = f"{stem} {path.stem}" if len(blocks or frames) > 1 else stem
        changed = cut if cut.shape != pixels.shape else None
        yield Labelled(name, folder, image=path, pixels=changed, pixel_size_um=size)


def without_strip(pixels: NDArray[Any]) -> NDArray[Any]:
    """Cuts the rows of text below the last whole field, if there are some: most px are its ground."""
    rows = pixels.shape[0] % FIELD_PX
    if not 0 < rows <= _STRIP_ROWS or pixels.shape[1] % FIELD_PX or pixels.shape[0] < FIELD_PX:
        return pixels
    counts = np.unique(pixels[-rows:], return_counts=True)[1]
    return pixels[:-rows] if counts.max() > counts.sum() / 2 else pixels


Reader("vivascope", "VivaBlock and VivaStack folders", _matches, _read)
