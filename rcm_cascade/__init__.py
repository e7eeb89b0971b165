"""Annotates whole reflectance confocal mosaics of skin with a cascade of U-Nets (Kose et al. 2018)."""

from importlib.metadata import version

from rcm_cascade.threads import wait_briefly

__version__ = version("rcm-cascade")

wait_briefly()
