"""Scores a checkpoint on labelled mosaics: whole, exact, on each mosaic's own grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.data.manifest import Dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.metrics import score_mosaic
from rcm_cascade.evaluate.report import comparison, write_evaluation
from rcm_cascade.pictures.png import save_png
from rcm_cascade.progress import progress_bar


def score(checkpoint: Path, mosaics: Sequence[Mosaic], out: Path, dataset: Dataset, *, part: str) -> dict[str, Any]:
    """Annotates labelled mosaics, compares with their label maps, and writes numbers, pictures and a page into ``out``.

    Args:
        checkpoint: to score.
        mosaics: labelled, on the checkpoint's working grid.
        out: folder for metrics.json, per_mosaic.csv, confusion.png and report.html.
        dataset: that the mosaics belong to.
        part: name of the split, for the page.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: if the data set's classes are not the checkpoint's.
    """
    annotator = Annotator.load(checkpoint)
    classes = annotator.header.classes
    if dataset.classes.names != classes.names:
        raise InputError(
            f"{dataset.root / 'dataset.yaml'} has the classes {', '.join(dataset.classes.names)}, the checkpoint "
            f"{checkpoint} was trained on {', '.join(classes.names)}; evaluate it on data with its own classes"
        )
    results, pictures = [], []
    with progress_bar(f"evaluating {len(mosaics)} mosaics", sum(m.image.size for m in mosaics) / 1e6, "MP") as advance:
        for mosaic in mosaics:
            prediction = annotator.annotate_mosaic(mosaic, progress=advance).labels
            truth = mosaic.native_labels()
            assert truth is not None
            result = score_mosaic(
                prediction,
                np.asarray(truth),
                mosaic=mosaic.name,
                patient=mosaic.patient,
                site=mosaic.site,
                pixel_size_um=mosaic.native_pixel_size_um,
                classes=classes,
            )
            results.append(result)
            picture = comparison(
                mosaic.native_image(), np.asarray(truth), prediction, classes, mosaic.native_pixel_size_um,
                title=mosaic.name,
            )  # fmt: skip
            pictures.append((mosaic.name, picture))
            save_png(picture, comparison_path(out, len(pictures) - 1, mosaic.name))
    working = annotator.header.working_pixel_size_um
    facts = {
        "data": f"{dataset.name}, {part} split: {len(mosaics)} mosaics",
        "checkpoint": checkpoint.name,
        "trained on": annotator.header.dataset,
        "working pixel size": f"{working:g} µm" if working else "each mosaic's own",
        "rcm-cascade": __version__,
    }
    return write_evaluation(
        out,
        results=results,
        classes=classes,
        comparisons=pictures,
        title=f"Evaluation: {dataset.name}, {part} split",
        facts=facts,
        synthetic=dataset.synthetic,
    )


def comparison_path(out: Path, number: int, mosaic: str) -> Path:
    """Where the picture of a mosaic lies: numbered, since two mosaics may have one name in different folders."""
    return out / "comparisons" / f"{number:03d}-{Path(mosaic).name.split('.')[0]}.png"
