"""Whole mosaics, annotated exactly: geometry, engine, outputs."""

from rcm_cascade.annotate.annotator import Annotator, MosaicAnnotation
from rcm_cascade.annotate.engine import Annotation, annotate_image

__all__ = ["Annotation", "Annotator", "MosaicAnnotation", "annotate_image"]
