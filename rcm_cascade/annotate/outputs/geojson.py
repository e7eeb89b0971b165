"""``STEM.geojson``: regions as QuPath's annotations, class and colour with them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.journal import MAKER
from rcm_cascade.annotate.outlines import Outline, outlines
from rcm_cascade.annotate.wanted import Outlines, Wanted
from rcm_cascade.classes import ClassTable

SUFFIX: Final = ".geojson"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes regions as polygons in px of the mosaic's own grid, which QuPath and `rcm-cascade import` read.

    Each has its class and colour, its area, and the mean confidence of its pixels: 1 less their entropy, of which the
    largest there is counts as 1. What was simplified or left out stands at the end of the file.
    """
    how = wanted.geojson or Outlines()
    left_out = 0

    def kept() -> Iterator[dict[str, Any]]:
        nonlocal left_out
        regions = outlines(annotated.labels, annotated.entropy)
        for region in simplified(regions, how.simplify_um / (annotated.pixel_size_um or 1.0)):
            area = annotated.area_mm2(region.pixels)
            if (region.pixels if area is None else area) < how.min_area_mm2:
                left_out += 1
                continue
            yield feature(region, annotated.classes, area)

    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection",\n"features": [')
        for number, each in enumerate(kept()):
            file.write((",\n" if number else "\n") + json.dumps(each, ensure_ascii=False, allow_nan=False))
        said = {
            "maker": MAKER,
            "mosaic": stem,
            "note": annotated.note or None,
            "source_sha256": annotated.source_sha256,
            "simplified_um": how.simplify_um,
            "min_area_mm2": how.min_area_mm2,
            "regions_left_out": left_out,
        }
        file.write(f'],\n"rcm_cascade": {json.dumps(said, ensure_ascii=False)}}}\n')


def feature(region: Outline, classes: ClassTable, area_mm2: float | None = None) -> dict[str, Any]:
    """A region as QuPath reads it."""
    class_ = classes.classes[region.label]
    measurements: dict[str, float] = {"Area px": region.pixels}
    if area_mm2 is not None:
        measurements["Area mm^2"] = area_mm2
    if region.entropy is not None:
        measurements["Mean confidence"] = round(1 - region.entropy, 4)
    classification = {"name": class_.name, "color": list(class_.rgb)}
    properties = {"objectType": "annotation", "classification": classification, "measurements": measurements}
    rings = [[[_plain(x), _plain(y)] for x, y in ring] for ring in region.rings]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": properties}


def simplified(regions: Iterable[Outline], tolerance_px: float) -> Iterator[Outline]:
    """Regions whose outlines are so many px off at most, neighbours alike, so that neither gaps nor overlaps come."""
    if not tolerance_px:
        yield from regions
        return
    import shapely  # comes with rasterio's extra

    exact = list(regions)
    polygons = [shapely.Polygon(each.rings[0], each.rings[1:]) for each in exact]
    for each, polygon in zip(exact, shapely.coverage_simplify(polygons, tolerance_px), strict=True):
        rings = [list(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
        yield Outline(each.label, each.pixels, each.entropy, rings)


def _plain(value: float) -> float:
    """Whole numbers without a point, of which a file has millions."""
    return int(value) if value == int(value) else value
