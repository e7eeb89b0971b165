"""``STEM.fields.csv``: a row for each field of 0.5 mm."""

from pathlib import Path
from typing import Final

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.fields import IRREGULAR, pattern_ids
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.data.manifest import csv_text

SUFFIX: Final = ".fields.csv"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes where each field lies in px of the mosaic's own grid, and what is in it.

    ``dominant`` is the class of most pixels; entropy is the mean over pixels, of which the largest there is counts as
    1; ``patterns around`` are the classes, but for non-lesion and artifact, that dominate this field or one of its
    eight neighbours, and three or more of them make it ``irregular``. Shares are pixels of pixels.
    """
    fields, names = annotated.fields, annotated.classes.names
    dominant, areas, around = fields.dominant, fields.areas, fields.patterns_around(pattern_ids(annotated.classes))
    header = ["row", "column", "top_px", "left_px", "height_px", "width_px", "dominant", "entropy", "patterns around"]
    rows = []
    for (row, col), area in ((at, int(areas[at])) for at in _positions(areas.shape)):
        (top, bottom), (left, right) = fields.tops[row : row + 2], fields.lefts[col : col + 2]
        unsure = None if fields.entropy is None else round(float(fields.entropy[row, col]), 4)
        patterns = int(around[row, col])
        shares = [round(int(pixels) / area, 6) for pixels in fields.pixels[row, col, : len(names)]]
        box = int(top), int(left), int(bottom - top), int(right - left)
        what = names[dominant[row, col]], unsure, patterns, int(patterns >= IRREGULAR)
        rows.append([row, col, *box, *what, *shares])
    path.write_bytes(csv_text([*header, "irregular", *(f"{name} share" for name in names)], rows).encode())


def _positions(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(row, col) for row in range(shape[0]) for col in range(shape[1])]
