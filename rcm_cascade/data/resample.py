"""From one pixel grid to another: images by area, labels by majority, predictions by nearest neighbour."""

import warnings
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.errors import InputError

MAX_UPSAMPLING: Final = 4.0
"""Beyond this, up-sampled pixels hold too little tissue for patterns to be read from them."""

_STRIP: Final = 2**22  # input pixels worked on in one go, so that float temporaries stay small beside a mosaic
_TIE: Final = 1e-5  # part of a new pixel's area within which two votes are equal: far above rounding, far below a vote


class ResolutionWarning(UserWarning):
    """Pixels are made up, or their size is a guess."""


def resampled_shape(shape: tuple[int, int], from_um: float, to_um: float, what: str = "image") -> tuple[int, int]:
    """Height and width, in px, of an image after resampling: ``max(1, round(side * from_um / to_um))``.

    Warns with a `ResolutionWarning` if pixels are added.

    Args:
        shape: height and width before, in px.
        from_um: µm per pixel before.
        to_um: µm per pixel after.
        what: the image, for messages.

    Raises:
        InputError: if each pixel would become more than `MAX_UPSAMPLING` pixels a side.
    """
    factor = from_um / to_um
    height, width = (max(1, round(side * factor)) for side in shape)
    if factor > MAX_UPSAMPLING:
        raise InputError(
            f"{what} has pixels of {from_um:g} µm and would be enlarged {factor:.3g} times to {to_um:g} µm, expected "
            f"{MAX_UPSAMPLING:g} times at the most; correct its pixel size, or train with "
            f"data.working_pixel_size_um={from_um:g}"
        )
    if height > shape[0] or width > shape[1]:
        warnings.warn(
            f"{what} has pixels of {from_um:g} µm and is enlarged {factor:.3g} times to {to_um:g} µm, which adds no "
            "detail",
            ResolutionWarning,
            stacklevel=2,
        )
    return height, width


def resize_image(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """An image ``(H, W)`` uint8 at another size: exact area averages at any ratio to fewer pixels, bilinear to more.

    An image that has the size already comes back as it is.
    """
    if image.shape == shape:
        return image
    smaller = shape[0] <= image.shape[0] and shape[1] <= image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(image), (shape[1], shape[0]), interpolation=method)
    return resized.astype(np.uint8, copy=False)


def area_resample(image: NDArray[np.uint8], from_um: float, to_um: float) -> NDArray[np.uint8]:
    """An image ``(H, W)`` uint8 at another pixel size: area averages when coarser, bilinear when finer.

    Warns with a `ResolutionWarning` when finer.

    Args:
        image: grey levels.
        from_um: µm per pixel of ``image``.
        to_um: µm per pixel of the result.

    Raises:
        InputError: if it would be enlarged more than `MAX_UPSAMPLING` times.
    """
    return resize_image(image, resampled_shape((image.shape[0], image.shape[1]), from_um, to_um))


def majority_resample(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Label map ``(H, W)`` at another size, each pixel the class with the largest area among its *labelled* part.

    Exact at any ratio, also to more pixels; a pixel without any labelled part is 255. Ties go to the class that comes
    first in scan order (row by row), as in `rcm_cascade.training.loss.pool_labels`.

    Args:
        labels: class ids and 255.
        shape: height and width of the result, in px.
    """
    result = np.full(shape, UNLABELLED, np.uint8)
    down, across = _overlaps(labels.shape[0], shape[0]), _overlaps(labels.shape[1], shape[1]).T
    tie = np.float32(_TIE * labels.size / (shape[0] * shape[1]))
    for top, bottom, first, last in _row_strips(labels.shape, shape):
        rows = labels[first:last]
        ids = np.flatnonzero(np.bincount(rows.reshape(-1), minlength=256)[:UNLABELLED])
        if len(ids):
            parts = down[top:bottom, first:last]
            votes = np.stack([(parts @ (rows == i).astype(np.float32)) @ across for i in ids])
            best = votes.max(axis=0)
            ahead = (votes >= best - tie) & (best > 0)
            winner = np.where(best > 0, ids[ahead.argmax(axis=0)], UNLABELLED)
            for i, j in np.argwhere(ahead.sum(axis=0) > 1).tolist():
                y, x = (_overlapped(new, *sides) for new, *sides in zip((i + top, j), labels.shape, shape, strict=True))
                seen = labels[y, x].reshape(-1)
                winner[i, j] = seen[np.isin(seen, ids[ahead[:, i, j]]).argmax()]
            result[top:bottom] = winner
    return result


def nearest_resample(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Label map ``(H, W)`` at another size, each pixel the value under its centre.

    Args:
        labels: class ids and 255.
        shape: height and width of the result, in px.
    """
    if labels.shape == shape:
        return labels
    rows, columns = (
        (2 * np.arange(after) + 1) * before // (2 * after) for before, after in zip(labels.shape, shape, strict=True)
    )
    taken: NDArray[np.uint8] = labels[rows][:, columns]
    return taken


def _overlaps(before: int, after: int) -> sparse.csr_array:
    """``(after, before)`` float32: the length that new pixel ``i`` shares with old pixel ``j``, in old pixels."""
    # Edges in units of 1/after of an old pixel are whole numbers, so equal votes are equal numbers.
    edges = np.union1d(np.arange(after + 1) * before, np.arange(before + 1) * after)
    starts, lengths = edges[:-1], np.diff(edges)
    weights = (lengths / after).astype(np.float32)
    return sparse.csr_array((weights, (starts // before, starts // after)), shape=(after, before))


def _overlapped(new: int, before: int, after: int) -> slice:
    """The old pixels that a new one overlaps."""
    return slice(new * before // after, -(-(new + 1) * before // after))


def _row_strips(before: tuple[int, ...], after: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """New rows ``[top, bottom)`` with the old rows ``[first, last)`` that they overlap."""
    step = max(1, min(_STRIP // before[1] * after[0] // before[0], _STRIP // after[1]))
    for top in range(0, after[0], step):
        bottom = min(top + step, after[0])
        yield top, bottom, top * before[0] // after[0], -(-bottom * before[0] // after[0])
