"""A phantom mosaic of 144 megapixels: one of 1024 px, mirrored. Usage: python -m experiments.speed.large OUT.tif."""

import sys
from pathlib import Path

from experiments.speed.mosaics import enlarged, phantom_mosaic, write_mosaic

PIXEL_SIZE_UM = 8.0

if __name__ == "__main__":
    write_mosaic(Path(sys.argv[1]), enlarged(phantom_mosaic(PIXEL_SIZE_UM), (12000, 12000)), PIXEL_SIZE_UM)
