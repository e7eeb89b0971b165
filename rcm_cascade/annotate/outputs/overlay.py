"""``STEM.overlay.png``, the picture that a reader sees first: the mosaic, its classes in colour, and where to look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.journal import MAKER
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.pictures.figure import Panel, compose
from rcm_cascade.pictures.maps import blend, shrink_factor, shrink_image, shrink_labels
from rcm_cascade.pictures.png import save_png

SUFFIX: Final = ".overlay.png"

LONGEST: Final = 1600
"""Px of the mosaic's longer side in the picture, at the most: with title, legend and caption it has 2,000."""

OUTLINE: Final = "#ffffff"
OUTLINE_EDGE: Final = "#000000"


_Shown = tuple[int, int, NDArray[np.uint8]]
"""Where the picture shows a region: row and column of its corner, and what is inside, ``(rows, columns)``."""


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes a mosaic's overlay, with maker and mosaic in its text; see `rcm_cascade.annotate.outputs`."""
    save_png(draw_overlay(annotated), path, {"Software": MAKER, "source_sha256": annotated.source_sha256})


def draw_overlay(annotated: MosaicAnnotation) -> Image.Image:
    """The grey mosaic with its class colours, regions outlined and numbered from 1, scale bar, legend and caption."""
    image, classes, regions = annotated.mosaic.native_image, annotated.classes, annotated.regions
    factor = shrink_factor(annotated.mosaic.native_shape, LONGEST)
    rgb = blend(shrink_image(image, factor), shrink_labels(annotated.labels, factor), classes)
    shown = [region.shown(factor) for region in regions]
    if regions:
        _draw_outlines(rgb, shown)
        look = LabelClass(len(classes), "outlined and numbered: look here first", OUTLINE)
        classes = ClassTable((*classes.classes, look))
    pixel_size_um = annotated.pixel_size_um
    return compose(
        [Panel(annotated.mosaic.name, _numbered(rgb, shown))],
        classes,
        pixel_size_um=None if pixel_size_um is None else pixel_size_um * factor,
        caption=_caption(annotated),
        unlabelled=False,
    )


def _caption(annotated: MosaicAnnotation) -> str:
    sentences = []
    if annotated.regions:
        listed = ", ".join(
            f"{number} {annotated.classes.names[region.label]} "
            + (f"{region.pixels} px" if (area := annotated.area_mm2(region.pixels)) is None else f"{area:.2g} mm²")
            for number, region in enumerate(annotated.regions, start=1)
        )
        sentences.append(f"Look here first, largest regions: {listed}.")
    if annotated.mosaic.pixel_size_source == "assumed":
        sentences.append(f"The pixel size is not known; {annotated.pixel_size_um:g} µm is assumed.")
    sentences.append(", ".join(filter(None, (MAKER, annotated.note))) + ".")
    return " ".join(sentences)


def _draw_outlines(rgb: NDArray[np.uint8], regions: Sequence[_Shown]) -> None:
    thick = max(1, round(max(rgb.shape) / 900))
    for top, left, inside in regions:
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
        cv2.drawContours(rgb, contours, -1, (0, 0, 0), thick + 2)
        cv2.drawContours(rgb, contours, -1, (255, 255, 255), thick)


def _numbered(rgb: NDArray[np.uint8], regions: Sequence[_Shown]) -> NDArray[np.uint8]:
    picture = Image.fromarray(rgb)
    draw = ImageDraw.Draw(picture)
    size = max(10, round(max(rgb.shape) / 50))
    font = ImageFont.load_default(size)
    for number, (top, left, inside) in enumerate(regions, start=1):
        # The innermost point, because the centroid of a crescent lies outside it; the border counts as outside.
        depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        # Inside the picture, and by its own size away from the border.
        x, y = np.clip((left + column - 1, top + row - 1), size, np.maximum(size, np.subtract(picture.size, size)))
        draw.text(
            (float(x), float(y)), str(number), fill=OUTLINE, font=font, anchor="mm", stroke_width=max(1, size // 8),
            stroke_fill=OUTLINE_EDGE,
        )  # fmt: skip
    return np.asarray(picture)
