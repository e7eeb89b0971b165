"""`rcm-cascade annotate`: mosaics in, annotated mosaics out."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.outputs import output_paths, refuse_equal_stems, write_annotation
from rcm_cascade.errors import InputError
from rcm_cascade.progress import progress_bar


def annotate(
    images: Sequence[Path],
    checkpoint: Path,
    out: Path,
    *,
    pixel_size_um: float | None = None,
    tile: int | None = None,
    precision: str = "auto",
    backend: str = "auto",
) -> int:
    """Annotates mosaics one after another; one that fails does not stop the rest.

    Args:
        images: mosaic files.
        checkpoint: of `rcm-cascade train`.
        out: folder for the three files of each mosaic.
        pixel_size_um: of all of them, where the files do not say, or say wrong.
        tile: side in px of each level; None: chosen.
        precision: ``auto``, ``fp32`` or ``bf16``.
        backend: ``auto`` or ``torch``.

    Returns:
        How many failed, each reported on stderr.

    Raises:
        InputError: before any work starts, if the checkpoint is wrong or two files would get one name.
    """
    refuse_equal_stems(images)
    annotator = Annotator.load(checkpoint)
    failed = 0
    for image in images:
        try:
            started = time.perf_counter()
            mosaic = annotator.open(image, pixel_size_um=pixel_size_um)
            read_s = time.perf_counter() - started
            with progress_bar(f"annotating {image.name}", mosaic.image.size / 1e6, "MP") as advance:
                annotated = annotator.annotate_mosaic(
                    mosaic, tile=tile, precision=precision, backend=backend, progress=advance, read_s=read_s
                )
            write_annotation(out, image, annotated)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for path in output_paths(out, image):
            print(path)
    return failed
