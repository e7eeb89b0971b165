"""Folds of a made-up data set, and runs of them that were evaluated but never trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.commands.fold_files import Folds
from rcm_cascade.commands.out_of_fold import FoldRun
from rcm_cascade.data.folds import FoldRule, make_folds
from rcm_cascade.data.manifest import Dataset, MosaicEntry
from rcm_cascade.evaluate.metrics import summarise, write_metrics
from rcm_cascade.evaluate.results import MosaicResult, score_mosaic
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs.score import comparison_path


def made_folds(folder: Path, classes: ClassTable, rule: FoldRule, patients: int = 7) -> Folds:
    """Of two mosaics a patient, at two sites."""
    entries = tuple(
        MosaicEntry(f"m{p}{m}.tif", Path("i"), Path("l"), patient=f"p{p}", patient_given=True, site=f"s{p % 2}")
        for p in range(patients)
        for m in "ab"
    )
    dataset = Dataset(Path("set"), "made-up", classes, entries, synthetic=True)
    pixels = {entry.mosaic: np.random.default_rng(i).integers(50, 500, 3) for i, entry in enumerate(entries)}
    return Folds(folder, dataset, rule, tuple(make_folds(dataset, rule, pixels)), {})


def result(folds: Folds, mosaic: str, right: float, seed: int) -> MosaicResult:
    """A mosaic of which about a share ``right`` is predicted as painted; its truth depends on its name alone."""
    entry = next(e for e in folds.dataset.entries if e.mosaic == mosaic)
    own = folds.dataset.entries.index(entry)
    truth = np.kron(np.random.default_rng(own).integers(0, 3, (6, 8)), np.ones((4, 4), np.int64)).astype(np.uint8)
    truth[np.random.default_rng(own + 1000).random(truth.shape) < 0.3] = 255
    rng = np.random.default_rng((own, seed, round(1000 * right)))
    prediction = np.where(rng.random(truth.shape) < right, truth % 255, rng.integers(0, 3, truth.shape))
    prediction[prediction > 2] = 0
    return score_mosaic(
        prediction.astype(np.uint8),
        truth,
        mosaic=mosaic,
        patient=entry.patient,
        site=entry.site,
        pixel_size_um=100.0,
        classes=folds.dataset.classes,
        levels=[(2, np.roll(prediction, 1, axis=0).astype(np.uint8)), (1, prediction.astype(np.uint8))],
    )


def evaluated_runs(folds: Folds, design: str, seeds: Sequence[int], right: float) -> list[FoldRun]:
    """A run a fold and seed, with what `rcm-cascade evaluate` leaves in it."""
    runs = []
    for seed in seeds:
        for fold in range(len(folds.splits)):
            run = FoldRun(folds.folder, design, fold, seed)
            tested = folds.tested(fold)
            results = [result(folds, mosaic, right, seed) for mosaic in tested]
            assert all(0 < r.confusion.trace() < r.confusion.sum() for r in results)
            summary = summarise(results, folds.dataset.classes, synthetic=True)
            write_metrics(run.evaluation, summary, results, folds.dataset.classes)
            for i, mosaic in enumerate(tested):
                shade = int.from_bytes(mosaic[1:3].encode()) % 256
                save_png(Image.new("RGB", (30, 20), (shade, fold, 9)), comparison_path(run.evaluation, i, mosaic))
            runs.append(run)
    return runs
