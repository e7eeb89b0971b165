"""A phantom mosaic of 144 megapixels: one of 1024 px, mirrored. Usage: python -m experiments.speed.large OUT.tif."""

from pathlib import Path

from experiments.script import run
from experiments.speed.mosaics import enlarged, phantom_mosaic, write_mosaic

PIXEL_SIZE_UM = 8.0


def main(out: Path) -> None:
    write_mosaic(out, enlarged(phantom_mosaic(PIXEL_SIZE_UM), (12000, 12000)), PIXEL_SIZE_UM)


if __name__ == "__main__":
    run(main)
