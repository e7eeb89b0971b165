"""Exports of a VivaScope: mosaics as BMP, and numbered frames of 0.5 mm, with or without a strip of text below."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.formats import read_image
from rcm_cascade.data.formats.base import suffixes
from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.source import Labelled, Reader

FIELD_PX: Final = 1000
_UM: Final = 500.0 / FIELD_PX
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
    if not blocks and len(frames) > 1 and folder.name.lower().startswith("vivablock"):
        yield Labelled(stem, folder, image=frames[0], pixels=_laid(folder, frames, meanings.grid), pixel_size_um=_UM)
        return
    for path in blocks or frames:
        pixels = read_image(path)
        cut = without_strip(pixels)
        size = _UM if cut.shape[1] % FIELD_PX == 0 else None
        name = f"{stem} {path.stem}" if len(blocks or frames) > 1 else stem
        changed = cut if cut.shape != pixels.shape else None
        yield Labelled(name, folder, image=path, pixels=changed, pixel_size_um=size)


def _laid(folder: Path, frames: list[Path], grid: tuple[int, int] | None) -> NDArray[Any]:
    """Frames of 0.5 mm put together: by their numbers from left to right, row by row."""
    if grid is None or grid[0] * grid[1] != len(frames):
        said = "" if grid is None else f", not {grid[0]} × {grid[1]}"
        raise InputError(
            f"{folder} has {len(frames)} frames{said}, and no mosaic of them; say how they lie with --grid "
            "ROWSxCOLUMNS, or export the mosaic"
        )
    pixels = [without_strip(read_image(frame)) for frame in frames]
    for frame, each in zip(frames, pixels, strict=True):
        if each.shape != pixels[0].shape or each.dtype != pixels[0].dtype:
            raise InputError(
                f"{frame} is {each.shape[0]} × {each.shape[1]} px and {frames[0].name} {pixels[0].shape[0]} × "
                f"{pixels[0].shape[1]} px (height × width); export frames of one size"
            )
    return np.block([pixels[row * grid[1] : (row + 1) * grid[1]] for row in range(grid[0])])


def without_strip(pixels: NDArray[Any]) -> NDArray[Any]:
    """Cuts the rows of text below the last whole field, if there are some: most px are its ground."""
    rows = pixels.shape[0] % FIELD_PX
    if not 0 < rows <= _STRIP_ROWS or pixels.shape[1] % FIELD_PX or pixels.shape[0] < FIELD_PX:
        return pixels
    counts = np.unique(pixels[-rows:], return_counts=True)[1]
    return pixels[:-rows] if counts.max() > counts.sum() / 2 else pixels


Reader("vivascope", "VivaBlock and VivaStack folders", _matches, _read)
