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
from rcm_cascade.evaluate import calibration
from rcm_cascade.evaluate.results import score_mosaic
from rcm_cascade.models.checkpoint import digest, store_temperature
from rcm_cascade.pictures.png import save_png
from rcm_cascade.progress import progress_bar
from rcm_cascade.report.evaluation import comparison, write_evaluation


def score(
    checkpoint: Path,
    mosaics: Sequence[Mosaic],
    out: Path,
    dataset: Dataset,
    *,
    part: str,
    fit_temperature: bool = False,
) -> dict[str, Any]:
    """Annotates labelled mosaics, compares with their label maps, and writes numbers, pictures and a page into ``out``.

    Each mosaic is annotated once: the final map, each level's own and the logits for calibration come from one pass.

    Args:
        checkpoint: to score.
        mosaics: labelled, on the checkpoint's working grid; at least one.
        out: folder for the files of `write_evaluation`, and a picture of each mosaic.
        dataset: that the mosaics belong to.
        part: name of the split, for the page.
        fit_temperature: whether the temperature is fitted on these mosaics, which must then be for validation, and
            stored in the checkpoint; else the one that it holds is used.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: if the data set's classes are not the checkpoint's, or it cannot be written.
    """
    annotator = Annotator.load(checkpoint)
    classes = annotator.header.classes
    if dataset.classes.names != classes.names:
        raise InputError(
            f"{dataset.root / 'dataset.yaml'} has the classes {', '.join(dataset.classes.names)}, the checkpoint "
            f"{checkpoint} was trained on {', '.join(classes.names)}; evaluate it on data with its own classes"
        )
    scored = annotator.checkpoint_sha256
    named = {entry.mosaic for entry in dataset.entries if entry.patient_given}
    results, pictures, samples = [], [], []
    limit = calibration.pixels_per_mosaic(len(mosaics))
    with progress_bar(f"evaluating {len(mosaics)} mosaics", sum(m.image.size for m in mosaics) / 1e6, "MP") as advance:
        for mosaic in mosaics:
            truth = mosaic.native_labels()
            assert truth is not None
            assert mosaic.labels is not None
            sampler = calibration.LogitSampler(mosaic.labels, len(classes), limit)
            annotated = annotator.annotate_mosaic(mosaic, progress=advance, levels=True, observe=sampler.observe)
            samples.append(sampler.sample())
            prediction = annotated.labels
            result = score_mosaic(
                prediction,
                np.asarray(truth),
                mosaic=mosaic.name,
                patient=mosaic.patient,
                site=mosaic.site,
                pixel_size_um=mosaic.native_pixel_size_um,
                classes=classes,
                levels=((f, annotated.level_map(i)) for i, f in enumerate(annotated.annotation.factors)),
                patient_given=mosaic.name in named,
            )
            results.append(result)
            picture = comparison(
                mosaic.native_image(), np.asarray(truth), prediction, classes, mosaic.native_pixel_size_um,
                title=mosaic.name,
            )  # fmt: skip
            pictures.append((mosaic.name, picture))
            save_png(picture, comparison_path(out, len(pictures) - 1, mosaic.name))
    sample = calibration.Sample.join(samples)
    temperature = annotator.header.temperature
    if fit_temperature:
        temperature = calibration.fit_temperature(sample)
        store_temperature(checkpoint, temperature)
        scored = digest(checkpoint)  # which the temperature has changed
    working = annotator.header.working_pixel_size_um
    facts = {
        "data": f"{dataset.name}, {part} split: {len(mosaics)} mosaics",
        "checkpoint": checkpoint.name,
        "trained on": annotator.header.dataset,
        "working pixel size": f"{working:g} µm" if working else "each mosaic's own",
        "temperature": f"{temperature:.3g}, {'fitted on these mosaics' if fit_temperature else 'from the checkpoint'}",
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
        calibration=calibration.measure_calibration(sample, temperature),
        checkpoint_sha256=scored,
    )


def comparison_path(out: Path, number: int, mosaic: str) -> Path:
    """Where the picture of a mosaic lies: numbered, since two mosaics may have one name in different folders."""
    return out / "comparisons" / f"{number:03d}-{Path(mosaic).name.split('.')[0]}.png"
