"""The three files of an annotated mosaic: labels for viewers, a picture for readers, numbers for programs."""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.overlay import SYNTHETIC, draw_overlay
from rcm_cascade.annotate.regions import LOOK_FIRST, Region, largest_regions
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.counting import count_values
from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole
from rcm_cascade.pictures.png import save_png

TILE: Final = 512
"""Px of a tile's side in the label file; the pyramid ends where one tile holds the mosaic."""

BIGTIFF_BYTES: Final = 2**31
"""Labels of more bytes go into a BigTIFF, compressed or not."""


class OutputPaths(NamedTuple):
    """Where the files of one mosaic go."""

    labels: Path
    overlay: Path
    summary: Path


def stem_of(image: str | Path) -> str:
    """File name without folder and extension, ``.ome.tif`` being one: ``a`` for ``x/a.ome.tif``."""
    stem = Path(image).stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") and len(stem) > len(".ome") else stem


def output_paths(out: Path, image: str | Path) -> OutputPaths:
    """The files that annotating ``image`` into the folder ``out`` writes."""
    stem = stem_of(image)
    return OutputPaths(out / f"{stem}.labels.ome.tif", out / f"{stem}.overlay.png", out / f"{stem}.json")


def refuse_equal_stems(paths: Iterable[str | Path]) -> None:
    """Refuses mosaics that would write the same files. Case does not count, because not every disk keeps it apart.

    Raises:
        InputError: naming both.
    """
    seen: dict[str, str | Path] = {}
    for path in paths:
        stem = stem_of(path)
        other = seen.setdefault(stem.casefold(), path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would both be written to {stem}.json and its companions; expected files of "
                "different names: rename one, or annotate them into different folders"
            )


def write_annotation(out: Path, image: str | Path, annotated: MosaicAnnotation) -> OutputPaths:
    """Writes ``<stem>.labels.ome.tif``, ``<stem>.overlay.png`` and ``<stem>.json``, none of them half.

    Args:
        out: folder; made where it is missing.
        image: the mosaic's file, for its name.
        annotated: what to write.

    Raises:
        InputError: if the folder cannot be written.
    """
    started = time.perf_counter()
    paths = output_paths(out, image)
    names = annotated.classes.names
    regions = largest_regions(annotated.labels, [names.index(name) for name in LOOK_FIRST if name in names])
    try:
        with ExitStack() as stack:
            labels, overlay, summary = (stack.enter_context(written_whole(path)) for path in paths)
            note = SYNTHETIC if annotated.synthetic else ""
            write_labels(labels, annotated.labels, annotated.classes, annotated.pixel_size_um, paths.labels.name, note)
            save_png(draw_overlay(annotated, regions), overlay)
            content = summarise(Path(image).name, annotated, regions, time.perf_counter() - started)
            summary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise InputError(
            f"the annotation of {image} cannot be written to {out} ({error.strerror or error}); expected a folder "
            "with room that may be written: choose another with --out"
        ) from error
    return paths


def write_labels(
    path: Path, labels: NDArray[np.uint8], classes: ClassTable, pixel_size_um: float | None, name: str, note: str = ""
) -> None:
    """Writes class ids as a tiled, deflated OME-TIFF whose pyramid halves to one tile, each pixel the nearest id.

    Args:
        path: of the file.
        labels: ``(H, W)`` uint8.
        classes: named in the description.
        pixel_size_um: µm per pixel; None: not known, and not written.
        name: of the image, as viewers show it.
        note: stands behind the classes in the description.
    """
    levels = 0
    while max(labels.shape) > TILE << levels:
        levels += 1
    description: dict[str, Any] = {
        "axes": "YX",
        "Name": name,
        "Channel": {"Name": ["class id"]},
        "Description": ", ".join(f"{c.id} {c.name}" for c in classes.classes) + (f"; {note}" if note else ""),
    }
    if pixel_size_um is not None:
        description |= {f"PhysicalSize{axis}": pixel_size_um for axis in "XY"}
        description |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    options: dict[str, Any] = {"tile": (TILE, TILE), "compression": "adobe_deflate", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=labels.nbytes > BIGTIFF_BYTES) as file:
        for level in range(levels + 1):
            top = {"subifds": levels, "metadata": description, "software": f"rcm_cascade {__version__}"}
            file.write(
                labels[:: 1 << level, :: 1 << level],
                **options,
                **_resolution(pixel_size_um, 1 << level),
                **(top if level == 0 else {"subfiletype": 1, "metadata": None}),
            )


def summarise(image: str, annotated: MosaicAnnotation, regions: Sequence[Region], write_s: float) -> dict[str, Any]:
    """The content of ``<stem>.json``.

    Args:
        image: file name of the mosaic.
        annotated: the mosaic and its labels.
        regions: that the picture outlines, in its order.
        write_s: seconds that writing took.
    """
    annotation = annotated.annotation
    counts = count_values(annotated.labels)
    return {
        "mosaic": image,
        "source_sha256": annotated.source_sha256,
        "shape": list(annotated.labels.shape),
        "pixel_size_um": annotated.pixel_size_um,
        "pixel_size_source": annotated.pixel_size_source,
        "working_pixel_size_um": annotated.working_pixel_size_um,
        "classes": [
            {
                "id": c.id,
                "name": c.name,
                "pixels": int(counts[c.id]),
                "share": float(counts[c.id] / annotated.labels.size),
                "area_mm2": _area_mm2(int(counts[c.id]), annotated.pixel_size_um),
            }
            for c in annotated.classes.classes
        ],
        "regions": [
            {
                "number": number,
                "class": annotated.classes.names[region.label],
                "pixels": region.pixels,
                "area_mm2": _area_mm2(region.pixels, annotated.pixel_size_um),
                "centroid_px": {"row": region.centroid[0], "column": region.centroid[1]},
                "bounding_box_px": {
                    "top": region.top,
                    "left": region.left,
                    "height": region.height,
                    "width": region.width,
                },
            }
            for number, region in enumerate(regions, start=1)
        ],
        "checkpoint": {
            "name": annotated.checkpoint,
            "sha256": annotated.checkpoint_sha256,
            "init_sha256": annotated.init_sha256 or None,
        },
        "synthetic": annotated.synthetic,
        "note": SYNTHETIC if annotated.synthetic else None,
        "versions": {"rcm_cascade": __version__, "torch": str(torch.__version__)},
        "precision": annotation.precision,
        "backend": annotation.backend,
        "device": annotation.device,
        "tile": [list(size) for size in annotation.tile],
        "timing": {
            "read_s": annotated.read_s,
            "network_s": annotation.seconds,
            "write_s": write_s,
            "megapixels_per_s": annotation.labels.size / 1e6 / annotation.seconds,
        },
    }


def _area_mm2(pixels: int, pixel_size_um: float | None) -> float | None:
    return None if pixel_size_um is None else pixels * pixel_size_um**2 / 1e6


def _resolution(pixel_size_um: float | None, factor: int) -> dict[str, Any]:
    if pixel_size_um is None:
        return {}
    per_cm = 1e4 / (pixel_size_um * factor)
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
