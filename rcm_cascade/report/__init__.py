"""Sweeps: many runs side by side, and which of their differences the data can tell from zero."""
