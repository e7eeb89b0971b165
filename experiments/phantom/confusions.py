"""The most common confusions: which class is taken for which other, how often, and where to look at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.annotate.regions import largest_regions
from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.windows import read_square
from rcm_cascade.evaluate.confusion import confusion_matrix
from rcm_cascade.pictures.figure import Panel, compose
from rcm_cascade.pictures.maps import blend, grey_to_rgb

CROP_PX: Final = 200
"""Side of a crop as drawn."""

NARROW_GAP, WIDE_GAP = 4, 24
"""Px between the crops of one place, and between places."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A mosaic with what was painted and what was predicted, on one grid; the arrays may be memory-mapped.

    Args:
        name: of the mosaic.
        image: ``(H, W)`` uint8.
        truth: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        prediction: ``(H, W)`` uint8 class ids.
        pixel_size_um: of this grid; None: not known.
    """

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    pixel_size_um: float | None


@dataclass(frozen=True)
class Place:
    """An example of a confusion: the innermost point of a connected region of it.

    Args:
        mosaic: its number in the sequence given.
        row: in px of the mosaic.
        column: in px of the mosaic.
        pixels: area of the region in px.
    """

    mosaic: int
    row: int
    column: int
    pixels: int


@dataclass(frozen=True)
class Confusion:
    """One class taken for another.

    Args:
        truth: class id.
        taken_for: class id.
        pixels: labelled pixels of ``truth`` that were predicted as ``taken_for``, in all mosaics.
        share: of all labelled pixels of ``truth``, in ``[0, 1]``.
        places: examples, from the largest region to smaller ones.
    """

    truth: int
    taken_for: int
    pixels: int
    share: float
    places: tuple[Place, ...]

    def describe(self, classes: ClassTable) -> str:
        """In words: ``"meshwork taken for ring: 12 % of the meshwork pixels"``."""
        truth, taken_for = classes.names[self.truth], classes.names[self.taken_for]
        percent = f"{100 * self.share:.0f} %" if self.share >= 0.01 else "less than 1 %"
        return f"{truth} taken for {taken_for}: {percent} of the {truth} pixels"


def most_common(
    mosaics: Sequence[Compared], classes: ClassTable, *, count: int = 6, places: int = 3
) -> list[Confusion]:
    """The confusions with most pixels over all mosaics, most first.

    Args:
        mosaics: to search.
        classes: the class table.
        count: confusions at most.
        places: examples of each at most: the largest region (touching at a corner counts) of each mosaic.

    Returns:
        At most ``count``; none where the prediction is right wherever there is a label. Equal ones come in id order.

    Raises:
        ValueError: if a mosaic's arrays differ in shape, or a labelled pixel's truth or prediction is no class id.
    """
    size = len(classes)
    matrix = np.zeros((size, size), np.int64)
    for mosaic in mosaics:
        if mosaic.image.shape != mosaic.truth.shape:
            raise ValueError(
                f"{mosaic.name}: the image is {mosaic.image.shape} and the truth {mosaic.truth.shape}; expected one "
                "shape (H, W)"
            )
        matrix += confusion_matrix(mosaic.prediction, mosaic.truth, size)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    ranked = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [(int(flat) // size, int(flat) % size) for flat in ranked if wrong.flat[flat] > 0]
    found: dict[tuple[int, int], list[Place]] = {pair: [] for pair in pairs}
    for number, mosaic in enumerate(mosaics):
        for truth, taken_for in pairs:
            where = (mosaic.truth == truth) & (mosaic.prediction == taken_for)
            found[truth, taken_for] += _largest_place(number, where)
    return [
        Confusion(
            truth=truth,
            taken_for=taken_for,
            pixels=int(matrix[truth, taken_for]),
            share=float(matrix[truth, taken_for] / matrix[truth].sum()),
            places=tuple(sorted(found[truth, taken_for], key=lambda place: -place.pixels)[:places]),
        )
        for truth, taken_for in pairs
    ]


def _largest_place(number: int, where: NDArray[np.bool_]) -> list[Place]:
    """The largest connected region of a mosaic ``(H, W)`` bool; empty where there is none."""
    regions = largest_regions(where.view(np.uint8), [1])
    if not regions:
        return []
    region = regions[0]
    # Innermost, because the centroid of a crescent lies outside it; beyond the bounding box is outside.
    depth = cv2.distanceTransform(np.pad(region.mask.view(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return [Place(number, region.top + int(row) - 1, region.left + int(column) - 1, region.pixels)]


def draw_confusions(
    confusions: Sequence[Confusion],
    mosaics: Sequence[Compared],
    classes: ClassTable,
    *,
    side_um: float = 1000,
    note: str = "",
) -> Image.Image:
    """A figure with a row a confusion: its places, each as image, painted labels and prediction.

    Args:
        confusions: of `most_common`.
        mosaics: the same sequence.
        classes: the class table.
        side_um: of a crop; where a pixel size is not known, every crop is `CROP_PX` px of its mosaic instead.
        note: what else the caption says, such as where the mosaics are from.

    Raises:
        ValueError: without a confusion.
    """
    if not confusions:
        raise ValueError("there is no confusion to draw; expected at least one")
    if any(mosaics[place.mosaic].pixel_size_um is None for c in confusions for place in c.places):
        pixel_size_um, wide = None, f"{CROP_PX} px"
    else:
        pixel_size_um, wide = side_um / CROP_PX, f"{side_um / 1000:g} mm"
    rows = [_draw_row(confusion, mosaics, classes, pixel_size_um) for confusion in confusions]
    widest = max(row.shape[1] for row in rows)
    panels = [
        Panel(confusion.describe(classes), _widened(row, widest - row.shape[1]))
        for confusion, row in zip(confusions, rows, strict=True)
    ]
    caption = (
        f"Places {wide} wide, each as image, painted labels and prediction; outlined in white: the pixels so confused. "
        f"{note}"
    )
    return compose(panels, classes, pixel_size_um=pixel_size_um, caption=caption, unlabelled=False, columns=1)


def _draw_row(
    confusion: Confusion, mosaics: Sequence[Compared], classes: ClassTable, pixel_size_um: float | None
) -> NDArray[np.uint8]:
    """The places of a confusion side by side: ``(CROP_PX, W, 3)`` uint8 RGB."""
    parts: list[NDArray[np.uint8]] = []
    for place in confusion.places:
        crops = _draw_place(confusion, place, mosaics[place.mosaic], classes, pixel_size_um)
        parts += [_widened(crop, gap) for crop, gap in zip(crops, (NARROW_GAP, NARROW_GAP, WIDE_GAP), strict=True)]
    return np.concatenate(parts, axis=1)[:, :-WIDE_GAP]


def _draw_place(
    confusion: Confusion, place: Place, mosaic: Compared, classes: ClassTable, pixel_size_um: float | None
) -> list[NDArray[np.uint8]]:
    """Image, painted labels and prediction round a place, each ``(CROP_PX, CROP_PX, 3)`` uint8 RGB.

    Args:
        confusion: that it is a place of.
        place: to be in the middle, as far as the mosaic's border lets it.
        mosaic: that it lies in.
        classes: the class table.
        pixel_size_um: as drawn; None: a pixel of the mosaic is one of the drawing.
    """
    side = CROP_PX
    if pixel_size_um is not None and mosaic.pixel_size_um is not None:
        side = max(1, round(CROP_PX * pixel_size_um / mosaic.pixel_size_um))
    height, width = mosaic.image.shape
    top = max(0, min(place.row - side // 2, height - side))
    left = max(0, min(place.column - side // 2, width - side))
    image = _resize_image(read_square(mosaic.image, top, left, side, None))
    truth = _resize_labels(read_square(mosaic.truth, top, left, side, UNLABELLED))
    prediction = _resize_labels(read_square(mosaic.prediction, top, left, side, UNLABELLED))
    where = ((truth == confusion.truth) & (prediction == confusion.taken_for)).view(np.uint8)
    contours, _ = cv2.findContours(where, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    painted, predicted = blend(image, truth, classes), blend(image, prediction, classes)
    for overlay in (painted, predicted):
        cv2.drawContours(overlay, contours, -1, (0, 0, 0), 3)
        cv2.drawContours(overlay, contours, -1, (255, 255, 255), 1)
    return [grey_to_rgb(image), painted, predicted]


def _resize_image(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    method = cv2.INTER_AREA if square.shape[0] > CROP_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (CROP_PX, CROP_PX), interpolation=method), np.uint8)


def _resize_labels(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(square, (CROP_PX, CROP_PX), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _widened(rgb: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """With ``by`` columns of white on its right."""
    return np.pad(rgb, ((0, 0), (0, by), (0, 0)), constant_values=255)
