"""Annotated mosaics without a network, for tests of what is made of them."""

from typing import Any

import numpy as np

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.engine import Annotation
from rcm_cascade.classes import RCM_CLASSES
from tests.annotate.telling import noise


def annotated(height: int = 300, width: int = 400, **changed: Any) -> MosaicAnnotation:
    """Six classes in columns; nested with a hole of patternless, and a second patternless region."""
    labels = np.zeros((height, width), np.uint8)
    labels[:] = np.arange(width) * 4 // width
    labels[height // 3 : 2 * height // 3, width // 4 : width // 2] = 4
    labels[2 * height // 5 : height // 2, width // 3 : 2 * width // 5] = 5
    labels[height // 8 : height // 4, 3 * width // 4 :] = 5
    assert len(np.unique(labels)) == 6
    annotation = Annotation(labels, (), ((64, 64), (64, 64)), "fp32", "torch", "cpu", 2.0)
    values: dict[str, Any] = {
        "name": "m",
        "image": noise(height, width, seed=30),
        "labels": labels,
        "pixel_size_um": 2.0,
        "pixel_size_source": "file",
        "working_pixel_size_um": 2.0,
        "annotation": annotation,
        "classes": RCM_CLASSES,
        "checkpoint": "best.ckpt",
        "checkpoint_sha256": "ab" * 32,
        "synthetic": False,
        "read_s": 0.5,
    }
    return MosaicAnnotation(**values | changed)
