"""``STEM.label_next.geojson``: the fields that are worth labelling, as QuPath's annotations to fill in."""

import json
from pathlib import Path
from typing import Any, Final

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.fields import count_fields
from rcm_cascade.annotate.journal import MAKER
from rcm_cascade.annotate.wanted import Wanted

SUFFIX: Final = ".label_next.geojson"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes fields as rectangles without a class, so that `rcm-cascade import` takes none of them for labelled.

    They are those of which the network is least sure, in turn from the fields that each class dominates. Where the
    mosaic lies in a dataset folder, fields in which something is labelled are left out.
    """
    fields, names = annotated.fields, annotated.classes.names
    truth = annotated.truth
    labelled = None if truth is None else count_fields(truth, annotated.pixel_size_um).labelled
    chosen = fields.worth_labelling(wanted.label_next, len(names), labelled)
    features = []
    for number, (row, col) in enumerate(chosen, start=1):
        (top, bottom), (left, right) = fields.tops[row : row + 2].tolist(), fields.lefts[col : col + 2].tolist()
        guess = names[fields.dominant[row, col]]
        properties: dict[str, Any] = {"objectType": "annotation", "name": f"label next {number}: {guess}?"}
        if fields.entropy is not None:
            properties["measurements"] = {"Mean entropy": round(float(fields.entropy[row, col]), 4)}
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    said = {"maker": MAKER, "mosaic": stem, "note": annotated.note or None}
    content = {"type": "FeatureCollection", "features": features, "rcm_cascade": said}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
