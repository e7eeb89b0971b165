"""``STEM.json``: numbers for programs, and the record by which a later call knows that a mosaic is finished."""

from typing import Any, Final

import torch

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.data.intensity import count_values

SUFFIX: Final = ".json"


def summarise(image: str, annotated: MosaicAnnotation, write_s: float) -> dict[str, Any]:
    """The content of ``STEM.json``.

    Args:
        image: file name of the mosaic.
        annotated: the mosaic and its labels.
        write_s: seconds that writing the other files took.
    """
    annotation = annotated.annotation
    counts = count_values(annotated.labels)
    return {
        "mosaic": image,
        "source_sha256": annotated.source_sha256,
        "shape": list(annotated.labels.shape),
        "pixel_size_um": annotated.pixel_size_um,
        "pixel_size_source": annotated.mosaic.pixel_size_source,
        "working_pixel_size_um": annotated.mosaic.working_pixel_size_um,
        "classes": [
            {
                "id": c.id,
                "name": c.name,
                "pixels": int(counts[c.id]),
                "share": float(counts[c.id] / annotated.labels.size),
                "area_mm2": annotated.area_mm2(int(counts[c.id])),
            }
            for c in annotated.classes.classes
        ],
        "regions": [
            {
                "number": number,
                "class": annotated.classes.names[region.label],
                "pixels": region.pixels,
                "area_mm2": annotated.area_mm2(region.pixels),
                "centroid_px": {"row": region.centroid[0], "column": region.centroid[1]},
                "bounding_box_px": {side: getattr(region, side) for side in ("top", "left", "height", "width")},
            }
            for number, region in enumerate(annotated.regions, start=1)
        ],
        "checkpoint": {
            "name": annotated.checkpoint,
            "sha256": annotated.checkpoint_sha256,
            "init_sha256": annotated.header.init or None,
        },
        "synthetic": annotated.header.synthetic,
        "note": annotated.note or None,
        "versions": {"rcm_cascade": __version__, "torch": str(torch.__version__)},
        "precision": annotation.precision,
        "backend": annotation.backend,
        "device": annotation.device,
        "tile": [list(size) for size in annotation.tile],
        "timing": {
            "read_s": annotated.read_s,
            "network_s": annotation.seconds,
            "write_s": write_s,
            "megapixels_per_s": annotation.labels.size / 1e6 / annotation.seconds,
        },
    }
