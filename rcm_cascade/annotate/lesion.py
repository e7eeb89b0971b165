"""Where the lesion lies on a mosaic: as somebody has drawn it, or the area of its patterns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rcm_cascade.annotate.fields import FIELD_PX, FIELD_UM
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.resample import nearest_resample
from rcm_cascade.errors import InputError

GRID: Final = 25
"""Cells to a field's side: the patterns' area is found on this grid, 20 µm wide."""

PATTERNS: Final = "area of the patterns, gaps up to 0.5 mm closed, holes filled"


def lesion_of_patterns(
    labels: NDArray[np.uint8], patterns: Sequence[int], pixel_size_um: float | None
) -> NDArray[np.bool_]:
    """The area of the patterns, closed by 0.5 mm, with its holes filled, ``(H, W)``.

    What is found is exact to the cells of a grid, 25 to a field's side, which belong to a pattern if half of them do.

    Args:
        labels: ``(H, W)`` class ids.
        patterns: ids of what only a lesion shows.
        pixel_size_um: µm per px; None: a field is 500 px wide.
    """
    side = FIELD_PX if pixel_size_um is None else FIELD_UM / pixel_size_um
    cells = tuple(max(1, round(size * GRID / side)) for size in labels.shape)
    table = np.zeros(256, np.uint8)
    table[list(patterns)] = 255
    share = cv2.resize(table[labels], cells[::-1], interpolation=cv2.INTER_AREA)
    mask = np.pad(share >= 128, GRID).view(np.uint8)  # beyond the border is no lesion
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GRID, GRID)))
    filled = ndimage.binary_fill_holes(closed)[GRID:-GRID, GRID:-GRID].astype(np.uint8)
    return nearest_resample(filled, (labels.shape[0], labels.shape[1])).astype(bool)


def read_lesion_mask(path: Path, stem: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of the lesion, ``(H, W)``: what is not 0 lies inside.

    One that was drawn at another size, as on dermoscopy, is brought to the mosaic's, each pixel the nearest.

    Args:
        path: of a picture, or of a folder that holds one of the mosaic's name.
        stem: the mosaic's name without its ending.
        shape: of the mosaic.

    Raises:
        InputError: if there is none, it cannot be read, or its sides are in another ratio.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.stem.split(".")[0] == stem or p.stem == stem)
        if len(found) != 1:
            raise InputError(
                f"{path} holds {len(found)} masks of the mosaic {stem}; expected one, named {stem}.png or so"
            )
        path = found[0]
    mask = read_image(path)
    ratio = mask.shape[0] * shape[1] / (mask.shape[1] * shape[0])
    if not 0.99 < ratio < 1.01:
        raise InputError(
            f"{path} is {mask.shape[0]} × {mask.shape[1]} px and its mosaic {shape[0]} × {shape[1]} px (height × "
            "width); draw the lesion on the mosaic, or on a picture of the same section"
        )
    return nearest_resample((mask > 0).astype(np.uint8), shape).astype(bool)
