"""The files of an annotated mosaic: one module a format, and the summary, which is written last.

A format is a module of this folder, known by its name, with

    SUFFIX                                          of its file, behind the mosaic's stem
    write(path: Path, stem: str, annotated: MosaicAnnotation, wanted: Wanted) -> None
                                                    writes the file at a temporary path

It is written always, or, where `Wanted` has a field of its name, as that says.
"""

import json
import time
import unicodedata
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import Annotator, MosaicAnnotation
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.fields import ARTIFACT, pattern_ids
from rcm_cascade.annotate.journal import Journal
from rcm_cascade.annotate.lesion import PATTERNS
from rcm_cascade.annotate.regions import LabelRegion
from rcm_cascade.annotate.wanted import PLAIN, REIMAGE_ABOVE, Wanted
from rcm_cascade.data.intensity import count_values
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable
from rcm_cascade.models.checkpoint import digest

FORMATS: Final[Mapping[str, ModuleType]] = {
    module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)
}

SUMMARY: Final = "summary"
"""``STEM.json``: numbers for programs, and the record by which a later call knows that a mosaic is finished."""


def stem_of(image: str | Path) -> str:
    """File name without folder and extension, ``.ome.tif`` being one: ``a`` for ``x/a.ome.tif``."""
    stem = Path(image).stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") and len(stem) > len(".ome") else stem


def output_paths(out: Path, image: str | Path, wanted: Wanted = PLAIN) -> dict[str, Path]:
    """The files that annotating ``image`` into the folder ``out`` writes, by format."""
    suffixes = {name: module.SUFFIX for name, module in FORMATS.items() if getattr(wanted, name, True)}
    suffixes[SUMMARY] = ".json"
    return {name: out / (stem_of(image) + suffix) for name, suffix in suffixes.items()}


def journal_of(out: Path, image: str | Path, wanted: Wanted = PLAIN) -> Journal:
    """Whose these files are."""
    return Journal(Path(image), output_paths(out, image, wanted))


def refuse_equal_stems(paths: Iterable[str | Path]) -> None:
    """Refuses mosaics that would write the same files.

    Case and Unicode form do not count, because not every disk keeps them apart.

    Raises:
        InputError: naming both.
    """
    seen: dict[str, str | Path] = {}
    for path in paths:
        stem = stem_of(path)
        other = seen.setdefault(unicodedata.normalize("NFC", stem).casefold(), path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would both be written to {stem}.json and its companions; expected files of "
                "different names: rename one, or annotate them into different folders"
            )


def write_annotation(
    out: Path, image: str | Path, annotated: MosaicAnnotation, replace: bool = False, wanted: Wanted = PLAIN
) -> dict[str, Path]:
    """Writes the file of each format and the summary, none of them half, and the summary last.

    Args:
        out: folder; made where it is missing.
        image: the mosaic's file, for its name.
        annotated: what to write.
        replace: whether files of others may be replaced.
        wanted: beside labels, overlay and summary; entropy only of a mosaic that was annotated with it.

    Returns:
        The files by format, as `output_paths`.

    Raises:
        InputError: if the folder cannot be written, or holds files of others; see `Journal.refuse_others`.
    """
    started = time.perf_counter()
    journal = journal_of(out, image, wanted)
    try:
        with journal.replacing(annotated.source_sha256, replace) as made:
            formats = [name for name in made if name != SUMMARY]
            with ThreadPoolExecutor() as pool:  # compressing takes a core each, and not the interpreter
                stem = printable(stem_of(image))
                writing = [pool.submit(FORMATS[name].write, made[name], stem, annotated, wanted) for name in formats]
                for each in writing:
                    each.result()
            summary = summarise(annotated, time.perf_counter() - started, wanted.reimage_above)
            content = journal.source(annotated.source_sha256) | summary
            content |= {"wanted": wanted.to_plain()}
            content["files"] = {printable(made[name].name): digest(made[name]) for name in formats}
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            made[SUMMARY].write_text(text + "\n", "utf-8")
    except OSError as error:
        raise InputError(
            f"the annotation of {image} cannot be written to {out} ({error.strerror or error}); expected a folder "
            "with room that may be written: choose another with --out"
        ) from error
    return dict(journal.paths)


def summarise(annotated: MosaicAnnotation, write_s: float, reimage_above: float = REIMAGE_ABOVE) -> dict[str, Any]:
    """The content of ``STEM.json``, but for maker, mosaic and files.

    Args:
        annotated: the mosaic and its labels.
        write_s: seconds that writing the other files took.
        reimage_above: share of artifact from which on a mosaic or its lesion should be imaged again.
    """
    annotation = annotated.annotation
    whole = _areas(annotated, annotated.labels)
    return {
        "shape": list(annotated.labels.shape),
        "pixel_size_um": annotated.pixel_size_um,
        "pixel_size_source": annotated.mosaic.pixel_size_source,
        "working_pixel_size_um": annotated.mosaic.working_pixel_size_um,
        "classes": whole,
        **_of_lesion(annotated, whole, reimage_above),
        "regions": [
            {
                "number": number,
                "class": annotated.classes.names[region.label],
                "pixels": region.pixels,
                "area_mm2": annotated.area_mm2(region.pixels),
                "centroid_px": {"row": region.centroid[0], "column": region.centroid[1]},
                "bounding_box_px": {side: getattr(region, side) for side in ("top", "left", "height", "width")},
                **_of_region(annotated, region),
            }
            for number, region in enumerate(annotated.regions, start=1)
        ],
        "checkpoint": {
            "name": annotated.checkpoint,
            "sha256": annotated.checkpoint_sha256,
            "init_sha256": annotated.header.init or None,
        },
        "synthetic": annotated.header.synthetic,
        "note": annotated.note or None,
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


def _of_region(annotated: MosaicAnnotation, region: LabelRegion) -> dict[str, Any]:
    """How sure the network is of a region, how many patterns lie around it, and both in words."""
    confidence = None if annotated.entropy is None else 1 - region.mean_of(annotated.entropy) / 255
    patterns = region.most_in(annotated.fields, pattern_ids(annotated.classes))
    sure = "" if confidence is None else f"{confidence:.0%} confident, "
    around = "no other pattern" if patterns < 2 else f"{patterns} patterns"
    words = f"{sure}{around} within a field of it"
    return {"mean_confidence": confidence, "patterns_around": patterns, "reason": words}


def _areas(annotated: MosaicAnnotation, labels: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Pixels, share of all and mm² of each class in labels `(H, W)`."""
    counts = count_values(labels)
    return [
        {
            "id": c.id,
            "name": c.name,
            "pixels": int(counts[c.id]),
            "share": float(counts[c.id] / max(labels.size, 1)),
            "area_mm2": annotated.area_mm2(int(counts[c.id])),
        }
        for c in annotated.classes.classes
    ]


def _of_lesion(annotated: MosaicAnnotation, whole: list[dict[str, Any]], reimage_above: float) -> dict[str, Any]:
    """The lesion's areas, and how much of mosaic and lesion is artifact, which says nothing of the tissue."""
    lesion = annotated.lesion
    inside: dict[str, Any] | None = None
    if lesion is not None:
        pixels = int(lesion.sum())
        inside = {
            "found_by": PATTERNS if annotated.lesion_mask is None else "mask",
            "pixels": pixels,
            "share": pixels / lesion.size,
            "area_mm2": annotated.area_mm2(pixels),
            "classes": _areas(annotated, annotated.labels[lesion][np.newaxis]),
        }
    parts = {"mosaic": whole, "lesion": [] if inside is None else inside["classes"]}
    shares = {part: next((c["share"] for c in areas if c["name"] == ARTIFACT), None) for part, areas in parts.items()}
    above = [part for part, share in shares.items() if share is not None and share > reimage_above]
    uninformative = {**shares, "reimage_above": reimage_above, "reimage": bool(above), "reason": above}
    return {"lesion": inside, "uninformative": uninformative}


def is_finished(
    out: Path,
    image: Path,
    annotator: Annotator,
    options: AnnotationOptions,
    pixel_size_um: float | None,
    wanted: Wanted = PLAIN,
) -> bool:
    """Whether the files of a mosaic are there, made from the same content by the same checkpoint as asked for now.

    Args:
        out: folder that was written into.
        image: the mosaic's file.
        annotator: that is to annotate it.
        options: of which precision, where ``auto`` accepts all but int8, and backend, where it accepts all, count.
        pixel_size_um: that is given; None: the file's own counts.
        wanted: files beside labels, overlay and summary; more may be there.
    """
    paths = output_paths(out, image, wanted)
    if not all(path.is_file() for path in paths.values()):
        return False
    try:
        found = json.loads(paths[SUMMARY].read_text("utf-8"))
        given = found["pixel_size_um"] if found["pixel_size_source"] == "given" else None
        exact = options.precision == "auto" and found["precision"] != "int8"
        return bool(
            found["checkpoint"]["sha256"] == annotator.sha256
            and found["source_sha256"] == annotator.cache.content(image)
            and given == pixel_size_um
            and (exact or found["precision"] == options.precision)
            and options.backend in ("auto", found["backend"])
            and wanted.met_by(found.get("wanted", {}))
        )
    except (ValueError, KeyError, TypeError):  # of an older version, or no file of ours: made anew
        return False
