"""``STEM.labels.ome.tif``: class ids for viewers and programs."""

from pathlib import Path
from typing import Final

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.pyramid import write_pyramid
from rcm_cascade.annotate.wanted import Wanted

SUFFIX: Final = ".labels.ome.tif"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes class ids, whose description names the classes; see `rcm_cascade.annotate.outputs`."""
    named = ", ".join(f"{c.id} {c.name}" for c in annotated.classes.classes)
    write_pyramid(path, annotated.labels, stem + SUFFIX, "class id", named, annotated)
