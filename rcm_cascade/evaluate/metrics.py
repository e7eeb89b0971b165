"""From one confusion matrix a mosaic to `metrics.json` and `per_mosaic.csv`."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.atomic import written_whole
from rcm_cascade.evaluate.bootstrap import Interval, bootstrap
from rcm_cascade.evaluate.coherence import Coherence, measure_coherence, pool_coherence
from rcm_cascade.evaluate.confusion import (
    confusion_matrix,
    dice,
    macro_mean,
    pixel_accuracy,
    sensitivity,
    specificity,
)
from rcm_cascade.labels import UNLABELLED, ClassTable


@dataclass(frozen=True)
class MosaicResult:
    """How one mosaic was predicted, on its own grid.

    Args:
        mosaic: as in the manifest.
        patient: whose it is; the mosaic itself where no patient is given.
        site: where it comes from, or empty.
        pixel_size_um: of the mosaic's own grid, or ``None``.
        confusion: ``(C, C)`` int64, rows = truth.
        prediction_coherence: of the predicted map inside the labelled pixels, or ``None`` if not measured.
        truth_coherence: of the truth, the same pixels.
    """

    mosaic: str
    patient: str
    site: str
    pixel_size_um: float | None
    confusion: NDArray[np.int64]
    prediction_coherence: Coherence | None = None
    truth_coherence: Coherence | None = None


def score_mosaic(
    prediction: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    *,
    mosaic: str,
    patient: str,
    site: str,
    pixel_size_um: float | None,
    classes: ClassTable,
    coherence: bool = True,
) -> MosaicResult:
    """Compares two label maps of a mosaic.

    Args:
        prediction: class ids on the mosaic's own grid, ``(H, W)`` uint8.
        truth: the same, 255 = unlabelled.
        mosaic: as in `MosaicResult`, and so are the next three.
        patient: see there.
        site: see there.
        pixel_size_um: see there.
        classes: the class table.
        coherence: whether to count regions too (about 0.1 s per megapixel).

    Raises:
        ValueError: if the shapes differ or a labelled pixel has no class id.
    """
    matrix = confusion_matrix(prediction, truth, len(classes))
    if not coherence:
        return MosaicResult(mosaic, patient, site, pixel_size_um, matrix)
    labelled = truth != UNLABELLED
    predicted, true = (measure_coherence(m, labelled, len(classes), pixel_size_um) for m in (prediction, truth))
    return MosaicResult(mosaic, patient, site, pixel_size_um, matrix, predicted, true)


def summarise(
    results: Sequence[MosaicResult],
    classes: ClassTable,
    *,
    synthetic: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All numbers of a set of mosaics, in the form of `metrics.json`: plain types, ``None`` where undefined.

    Matrices are pooled over mosaics; ``mean`` is the macro mean over the classes present in the truth; intervals are
    those of `bootstrap`.

    Args:
        results: one a mosaic, at least one.
        classes: the class table.
        synthetic: whether the mosaics are phantoms.
        draws: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: without a result.
    """
    if not results:
        raise ValueError("there is no result to summarise; expected at least one mosaic")
    matrices, patients = [r.confusion for r in results], [r.patient for r in results]
    matrix = np.sum(matrices, axis=0)
    intervals = bootstrap(matrices, patients, draws=draws, seed=seed)
    numbers = {"sensitivity": sensitivity(matrix), "specificity": specificity(matrix), "dice": dice(matrix)}
    predicted = [r.prediction_coherence for r in results if r.prediction_coherence is not None]
    true = [r.truth_coherence for r in results if r.truth_coherence is not None]
    return {
        "classes": [
            {
                "name": name,
                "labelled_pixels": int(matrix[i].sum()),
                **{key: _plain(values[i]) for key, values in numbers.items()},
                "sensitivity_ci": _listed(intervals.sensitivity[i]),
                "specificity_ci": _listed(intervals.specificity[i]),
                "dice_ci": _listed(intervals.dice[i]),
            }
            for i, name in enumerate(classes.names)
        ],
        "mean": {
            **{key: _plain(macro_mean(values, matrix)) for key, values in numbers.items()},
            "sensitivity_ci": _listed(intervals.mean_sensitivity),
            "specificity_ci": _listed(intervals.mean_specificity),
            "dice_ci": _listed(intervals.mean_dice),
        },
        "pixel_accuracy": _plain(pixel_accuracy(matrix)),
        "labelled_pixels": int(matrix.sum()),
        "confusion": matrix.tolist(),
        "mosaics": len(results),
        "patients": intervals.patients,
        "bootstrap": {
            "method": "percentile, patients drawn with replacement",
            "patients": intervals.patients,
            "draws": intervals.draws,
            "level": intervals.level,
            "seed": intervals.seed,
        },
        "coherence": {
            "prediction": pool_coherence(predicted, classes.names),
            "truth": pool_coherence(true, classes.names),
        },
        "synthetic": synthetic,
    }


def per_mosaic_rows(results: Sequence[MosaicResult], classes: ClassTable) -> list[dict[str, str]]:
    """One row a mosaic, as text: blank where undefined."""
    rows = []
    for r in results:
        numbers = {
            "sensitivity": sensitivity(r.confusion),
            "specificity": specificity(r.confusion),
            "dice": dice(r.confusion),
        }
        row = {
            "mosaic": r.mosaic,
            "patient": r.patient,
            "site": r.site,
            "pixel_size_um": "" if r.pixel_size_um is None else f"{r.pixel_size_um:g}",
            "labelled_pixels": str(int(r.confusion.sum())),
            "pixel_accuracy": _text(pixel_accuracy(r.confusion)),
        }
        row |= {f"mean_{key}": _text(macro_mean(values, r.confusion)) for key, values in numbers.items()}
        for key, values in numbers.items():
            row |= {f"{key}_{name}": _text(float(v)) for name, v in zip(classes.names, values, strict=True)}
        rows.append(row)
    return rows


def write_metrics(
    out: Path, summary: dict[str, Any], results: Sequence[MosaicResult], classes: ClassTable
) -> tuple[Path, Path]:
    """Writes `metrics.json` (the summary) and `per_mosaic.csv`; the folder is made if need be.

    Returns:
        The two paths.
    """
    table = io.StringIO()
    rows = per_mosaic_rows(results, classes)
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(out / "metrics.json", json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    write_whole(out / "per_mosaic.csv", table.getvalue())
    return out / "metrics.json", out / "per_mosaic.csv"


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; an existing file is replaced."""
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode())


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _listed(interval: Interval) -> list[float] | None:
    return None if interval is None else list(interval)


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
