"""Annotates whole reflectance confocal mosaics of skin with a cascade of U-Nets (Kose et al. 2018)."""

from importlib.metadata import version

__version__ = version("rcm-cascade")
