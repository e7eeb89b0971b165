"""``STEM.label_next.geojson``: the fields that are worth labelling, as QuPath's annotations to fill in."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.fields import count_fields
from rcm_cascade.annotate.journal import MAKER
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import DATASET_FILE, read_dataset
from rcm_cascade.errors import InputError

SUFFIX: Final = ".label_next.geojson"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes fields as rectangles without a class, so that `rcm-cascade import` takes none of them for labelled.

    They are those of which the network is least sure, in turn from the fields that each class dominates. Where the
    mosaic lies in a dataset folder, fields in which something is labelled are left out.
    """
    fields, names = annotated.fields, annotated.classes.names
    chosen = fields.worth_labelling(wanted.label_next, len(names), _labelled(annotated))
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


def _labelled(annotated: MosaicAnnotation) -> NDArray[np.bool_] | None:
    """Which fields hold a labelled pixel; None: the mosaic is in no dataset folder, or has no labels there."""
    image = annotated.mosaic.image_path
    if image is None:
        return None
    with suppress(InputError):  # of a data set that cannot be read nothing is known
        for root in image.absolute().parents:
            if (root / DATASET_FILE).is_file():
                labels = _labels(root, image, annotated)
                return None if labels is None else count_fields(labels, annotated.pixel_size_um).labelled
    return None


def _labels(root: Path, image: Path, annotated: MosaicAnnotation) -> NDArray[np.uint8] | None:
    for entry in read_dataset(root).entries:
        if entry.label is not None and entry.image.samefile(image):
            return read_labels(entry.label, annotated.classes, annotated.mosaic.native_shape)
    return None
