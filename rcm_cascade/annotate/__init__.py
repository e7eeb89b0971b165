"""Whole mosaics, annotated exactly: geometry, engine, outputs."""

from rcm_cascade.annotate import cpu as cpu  # registers its backends
from rcm_cascade.annotate.annotator import Annotator, MosaicAnnotation
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.engine import Annotation, annotate_image

__all__ = ["Annotation", "AnnotationOptions", "Annotator", "MosaicAnnotation", "annotate_image"]
