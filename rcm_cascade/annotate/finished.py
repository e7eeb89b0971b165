"""Which mosaics need not be annotated again."""

import json
from pathlib import Path

from rcm_cascade.annotate.outputs import output_paths

INEXACT = "int8"
"""What ``auto`` never takes, and so never accepts as done."""


def is_finished(
    out: Path,
    image: Path,
    *,
    source_sha256: str,
    checkpoint_sha256: str,
    pixel_size_um: float | None,
    precision: str,
    backend: str,
) -> bool:
    """Whether the files of a mosaic are there, made from the same content by the same checkpoint as asked for now.

    Args:
        out: folder that was written into.
        image: the mosaic's file.
        source_sha256: of its content.
        checkpoint_sha256: of the checkpoint's content.
        pixel_size_um: that is given; None: the file's own counts.
        precision: that is asked for; ``auto`` accepts all but int8.
        backend: that is asked for; ``auto`` accepts all.
    """
    paths = output_paths(out, image)
    if not all(path.is_file() for path in paths):
        return False
    try:
        told = json.loads(paths.summary.read_text("utf-8"))
        given = told["pixel_size_um"] if told["pixel_size_source"] == "given" else None
        return bool(
            told["source_sha256"] == source_sha256
            and told["checkpoint"]["sha256"] == checkpoint_sha256
            and given == pixel_size_um
            and (told["precision"] == precision or (precision == "auto" and told["precision"] != INEXACT))
            and backend in ("auto", told["backend"])
        )
    except (ValueError, KeyError, TypeError):  # of an older version, or no file of ours: made anew
        return False
