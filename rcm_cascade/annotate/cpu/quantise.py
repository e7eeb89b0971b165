"""What `annotate --precision int8` does once for each checkpoint: quantise it, and measure what that costs."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from rcm_cascade.annotate.annotator import INT8_SUFFIX, Annotator
from rcm_cascade.annotate.backends import Backend
from rcm_cascade.annotate.cpu.int8 import (
    LEAST_AGREEMENT,
    Int8Backend,
    Int8Report,
    low_strips,
    quantise,
    read_report,
    write_report,
)
from rcm_cascade.annotate.engine import annotate_with
from rcm_cascade.data.ids import legacy_id
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.confusion import confusion_matrix, sensitivity
from rcm_cascade.progress import progress_bar
from rcm_cascade.runs.config import DataSection
from rcm_cascade.runs.data import TrainingData, find_dataset, make_cache
from rcm_cascade.runs.folder import RunFolder

CALIBRATION_MOSAICS: Final = 8
MEASURED_MOSAICS: Final = 4
"""Enough for the ranges of a network's features, and for a share of pixels."""


def prepare_int8(checkpoint: Path, root: Path | None = None, accept_loss: bool = False) -> Int8Report:
    """Quantises a checkpoint unless that was done, and prints what int8 costs.

    Args:
        checkpoint: a .ckpt file; the graphs go into the folder ``.int8`` beside it.
        root: the data set it was trained on; None: the one that its run folder's config.yaml names.
        accept_loss: whether an agreement below 98 % is accepted.

    Raises:
        InputError: if the data set is not found, or the agreement is too low.
    """
    annotator = Annotator.load(checkpoint, device="cpu")
    folder = checkpoint.with_suffix(INT8_SUFFIX)
    report = read_report(folder, annotator.checkpoint_sha256)
    if report is None:
        report = _quantise(annotator, _training_data(annotator, checkpoint, root), folder)
    print(_sentences(report), file=sys.stderr)
    if report.agreement < LEAST_AGREEMENT and not accept_loss:
        raise InputError(
            f"int8 labels {report.agreement:.2%} of the pixels of {checkpoint} as float32 does; expected "
            f"{LEAST_AGREEMENT:.0%} or more: use --precision auto, or --accept-loss if that is good enough"
        )
    return report


def _training_data(annotator: Annotator, checkpoint: Path, root: Path | None) -> TrainingData:
    header = annotator.header
    if root is None:
        config = RunFolder(checkpoint.resolve().parent.parent).config
        if not config.is_file():
            raise InputError(
                f"checkpoint {checkpoint} lies in no run folder, so its training mosaics are not known; name their "
                "data set with --calibrate ROOT"
            )
        root = find_dataset(DataSection.model_validate(yaml.safe_load(config.read_text("utf-8"))["data"]))
    dataset = read_dataset(root)
    if legacy_id(dataset) != header.dataset_id:
        raise InputError(
            f"{root} is not the data set that {checkpoint} was trained on ({header.dataset}); name that with "
            "--calibrate ROOT"
        )
    return TrainingData(dataset, header.split, header.working_pixel_size_um, header.normalisation, make_cache(None, 50))


def _quantise(annotator: Annotator, data: TrainingData, folder: Path) -> Int8Report:
    train, held_out = data.open("train"), data.open("val")
    calibrated_on = train[:CALIBRATION_MOSAICS]
    measured_on = (held_out or train[CALIBRATION_MOSAICS:] or train)[:MEASURED_MOSAICS]
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        quantise(annotator.unets(), calibrated_on, unfinished)
        write_report(
            unfinished, _measure(annotator, Int8Backend(annotator.unets(), unfinished), calibrated_on, measured_on)
        )
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); copy the checkpoint to where there is room"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    report = read_report(folder, annotator.checkpoint_sha256)
    assert report is not None
    return report


def _measure(
    annotator: Annotator, int8: Backend, calibrated_on: Sequence[Mosaic], measured_on: Sequence[Mosaic]
) -> Int8Report:
    """Annotates mosaics both ways, on the working grid."""
    fp32 = annotator.prepare("fp32", "openvino")
    classes = annotator.header.classes
    same = pixels = 0
    counts = np.zeros((2, len(classes), len(classes)), np.int64)
    with progress_bar("measuring what int8 costs", 2 * sum(m.image.size for m in measured_on) / 1e6, "MP") as advance:
        for mosaic in measured_on:
            plans = low_strips(int8, mosaic.image.shape)
            exact, quick = (
                annotate_with(backend, mosaic.image, mosaic.intensity, progress=advance, plans=plans).labels
                for backend in (fp32, int8)
            )
            same += int((exact == quick).sum())
            pixels += exact.size
            if mosaic.labels is not None:
                counts += np.stack([confusion_matrix(p, mosaic.labels, len(classes)) for p in (exact, quick)])
    exact_values, int8_values = ([None if np.isnan(v) else float(v) for v in row] for row in sensitivity(counts))
    return Int8Report(
        checkpoint_sha256=annotator.checkpoint_sha256,
        agreement=same / pixels,
        sensitivity=dict(zip(classes.names, zip(exact_values, int8_values, strict=True), strict=True)),
        calibrated_on=[m.name for m in calibrated_on],
        measured_on=[m.name for m in measured_on],
    )


def _sentences(report: Int8Report) -> str:
    changes = ", ".join(
        f"{name} {quick - exact:+.3f}"
        for name, (exact, quick) in report.sensitivity.items()
        if exact is not None and quick is not None
    )
    return (
        f"int8 gives {report.agreement:.2%} of the pixels the label that float32 gives them ({len(report.measured_on)} "
        f"mosaics it was not calibrated on); sensitivity changes: {changes}"
    )
