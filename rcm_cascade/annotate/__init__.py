"""Whole mosaics, annotated exactly: geometry, engine, outputs."""
