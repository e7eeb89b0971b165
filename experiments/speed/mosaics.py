"""Mosaics of any size to measure on."""

from pathlib import Path
from typing import Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from rcm_cascade.phantom.generate import generate
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import make_recipe

PHANTOM_PX: Final = 1024
"""Side of the phantom that is mirrored to the size asked for: a large one takes minutes to draw."""


def phantom_mosaic(pixel_size_um: float) -> NDArray[np.uint8]:
    """A phantom of `PHANTOM_PX` px a side, ``(H, W)`` uint8."""
    side_um = PHANTOM_PX * pixel_size_um
    patient = make_patient(0, 0, 1)
    recipe = make_recipe(seed=0, index=0, size_um=(side_um, side_um), pixel_size_um=pixel_size_um, patient=patient)
    return generate(recipe).image


def enlarged(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A mosaic cut to a shape, or mirrored at its borders until it has it."""
    missing = [max(0, wanted - given) for wanted, given in zip(shape, image.shape, strict=True)]
    grown: NDArray[np.uint8] = np.pad(image, [(0, m) for m in missing], mode="symmetric") if any(missing) else image
    return np.ascontiguousarray(grown[: shape[0], : shape[1]])


def write_mosaic(file: Path, image: NDArray[np.uint8], pixel_size_um: float) -> None:
    """A TIFF as microscopes write it: tiled, compressed, with its pixel size."""
    per_cm = 1e4 / pixel_size_um
    tifffile.imwrite(
        file, image, tile=(512, 512), compression="zlib", resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
    )
