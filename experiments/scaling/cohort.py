"""How long a cohort takes on many devices: COMPUTED from seconds a mosaic, bytes and bandwidth.

Usage: python experiments/scaling/cohort.py OUT [--mosaic-s 6]. Writes OUT/cohort.md. Nothing of it is
measured.
"""

from pathlib import Path
from typing import Final

from experiments.script import run, table
from rcm_cascade.files import write_text

MOSAICS: Final = 372
MEGAPIXELS: Final = 144
READ: Final = 144e6
"""Bytes of a mosaic that is not compressed."""
WRITTEN: Final = 25e6
"""Bytes of its labels, deflated, and its overlay."""
START_S: Final = 20.0
"""Until a process has imported everything and loaded the network."""
DEVICES: Final = (1, 8, 64)
STORAGE: Final = {"one disk, 200 MB/s": 2e8, "a file server, 1 GB/s": 1e9, "a parallel file system, 10 GB/s": 1e10}


def main(out: Path, mosaic_s: float = 6.0) -> None:
    rows = []
    for devices in DEVICES:
        computing = START_S + -(-MOSAICS // devices) * mosaic_s
        for name, bandwidth in STORAGE.items():
            moving = MOSAICS * (READ + WRITTEN) / bandwidth
            limit = "storage" if moving > computing else "devices"
            times = [_minutes(seconds) for seconds in (computing, moving, max(computing, moving))]
            rows.append([str(devices), name, *times, limit])
    caption = (
        f"**Computed, not measured.** {MOSAICS} mosaics of {MEGAPIXELS} MP, {MOSAICS * READ / 1e9:.0f} GB to read and "
        f"{MOSAICS * WRITTEN / 1e9:.0f} GB to write. Assumed: {mosaic_s:g} s a mosaic and device, file to file; "
        f"{START_S:g} s until a process begins; reading and writing run beside the network."
    )
    heads = ["devices", "storage", "devices take", "storage takes", "in all", "limit"]
    write_text(out / "cohort.md", f"{caption}\n\n{table(heads, rows, words=2)}\n")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    run(main)
