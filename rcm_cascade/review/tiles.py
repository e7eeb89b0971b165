"""Pictures of 512 × 512 px, level by level, that a browser puts together: it loads only those that are seen."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.annotate.pyramid import TILE, halvings
from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.resample import resize_image

JPEG_QUALITY: Final = 85

Draw = Callable[[NDArray[np.uint8]], Image.Image | None]
"""A piece of a map as a picture; None: there is nothing on it to see."""


def write_tiles(
    folder: Path, pixels: NDArray[np.uint8], draw: Draw, *, average: bool = False, fill: int = UNLABELLED
) -> dict[int, list[str]]:
    """Writes a pyramid of a map ``(H, W)``, ``LEVEL/COLUMN_ROW.png`` (of an image: .jpg).

    Args:
        folder: made here.
        pixels: an image, or one byte a pixel.
        draw: makes a picture of a piece ``(512, 512)``.
        average: whether coarser levels are area averages of an image; else each pixel is the nearest.
        fill: what tiles at the border are filled up with.

    Returns:
        By level, ``COLUMN_ROW`` of the tiles that were written.
    """
    top, written = halvings((pixels.shape[0], pixels.shape[1])), {}
    with ThreadPoolExecutor(2) as pool:
        for level in range(top, -1, -1):
            if level < top:
                pixels = _halved(pixels) if average else pixels[::2, ::2]
            place = folder / str(level)
            place.mkdir(parents=True)
            names, pieces = zip(*_pieces(pixels, fill), strict=True)
            drawn = pool.map(partial(_write, place, draw), names, pieces)
            written[level] = [name for name, there in zip(names, drawn, strict=True) if there]
    return written


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return resize_image(pixels, (-(-pixels.shape[0] // 2), -(-pixels.shape[1] // 2)))


def _pieces(pixels: NDArray[np.uint8], fill: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Column and row of each tile, and its pixels ``(512, 512)``."""
    for row in range(-(-pixels.shape[0] // TILE)):
        for col in range(-(-pixels.shape[1] // TILE)):
            piece = pixels[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
            yield f"{col}_{row}", np.pad(piece, [(0, TILE - size) for size in piece.shape], constant_values=fill)


def _write(place: Path, draw: Draw, name: str, piece: NDArray[np.uint8]) -> bool:
    picture = draw(piece)
    if picture is None:
        return False
    if picture.mode == "L":
        picture.save(place / f"{name}.jpg", quality=JPEG_QUALITY)
    else:
        picture.save(place / f"{name}.png", compress_level=1, bits=picture.info.pop("bits"))
    return True


def draw_grey(piece: NDArray[np.uint8]) -> Image.Image:
    """The mosaic itself."""
    return Image.fromarray(piece)


def draw_class(label: int, rgb: Sequence[int]) -> Draw:
    """One class in its colour, all else transparent."""

    def draw(piece: NDArray[np.uint8]) -> Image.Image | None:
        mask = piece == label
        return _indexed(mask.view(np.uint8), [(0, 0, 0, 0), (*rgb, 255)], bits=1) if mask.any() else None

    return draw


def draw_classes(classes: ClassTable) -> Draw:
    """All classes in their colours; unlabelled is transparent."""
    palette = [(*rgb, 255) for rgb in classes.palette().tolist()]
    palette[UNLABELLED] = (0, 0, 0, 0)
    return lambda piece: _indexed(piece, palette) if (piece != UNLABELLED).any() else None


def draw_entropy() -> Draw:
    """The more is doubted, the brighter and the less transparent."""
    colours = (colormaps["inferno"](np.linspace(0.25, 1, 256)) * 255).astype(int).tolist()
    palette = [(*colour[:3], min(230, value * 2)) for value, colour in enumerate(colours)]
    return lambda piece: _indexed(piece, palette)


def _indexed(ids: NDArray[np.uint8], palette: Sequence[tuple[int, ...]], bits: int = 8) -> Image.Image:
    picture = Image.fromarray(ids, mode="P")
    picture.putpalette([value for colour in palette for value in colour[:3]])
    picture.info["transparency"] = bytes(colour[3] for colour in palette)
    picture.info["bits"] = bits
    return picture
