"""Annotated mosaics without a network, for tests of what is made of them."""

from typing import Any

import numpy as np

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.engine import Annotation
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.intensity import measure
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.checkpoint import CheckpointHeader
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
    labels = changed.pop("labels", labels)
    image = changed.pop("image", noise(labels.shape[0], labels.shape[1], seed=30))
    mosaic = Mosaic(
        name="m",
        patient="m",
        site="",
        image=image,
        labels=None,
        intensity=measure(image),
        native_image=image,
        native_pixel_size_um=changed.pop("pixel_size_um", 2.0),
        pixel_size_source=changed.pop("pixel_size_source", "file"),
        working_pixel_size_um=2.0,
    )
    values: dict[str, Any] = {
        "mosaic": mosaic,
        "annotation": annotation,
        "labels": labels,
        "header": CheckpointHeader(
            CascadeArguments(),
            changed.pop("classes", RCM_CLASSES),
            2.0,
            synthetic=changed.pop("synthetic", False),
            init=changed.pop("init_sha256", ""),
        ),
        "checkpoint": "best.ckpt",
        "checkpoint_sha256": "ab" * 32,
        "source_sha256": "",
        "read_s": 0.5,
    }
    return MosaicAnnotation(**values | changed)
