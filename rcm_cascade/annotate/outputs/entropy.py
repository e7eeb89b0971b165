"""``STEM.entropy.ome.tif``: how unsure the network is of each pixel."""

from pathlib import Path
from typing import Final

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.pyramid import write_pyramid
from rcm_cascade.annotate.wanted import Wanted

SUFFIX: Final = ".entropy.ome.tif"


def write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None:
    """Writes one byte a pixel: 0 where one class has all of the probability, 255 where all classes share it equally."""
    assert annotated.entropy is not None  # else it is not wanted
    what = (
        f"entropy of the class probabilities at temperature {annotated.header.temperature:.3g}, divided by its largest "
        f"value (ln {len(annotated.classes)}), times 255: 0 is sure, 255 undecided among all classes"
    )
    write_pyramid(path, annotated.entropy, stem + SUFFIX, "entropy", what, annotated)
