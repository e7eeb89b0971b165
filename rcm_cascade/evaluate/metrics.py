"""From one confusion matrix a mosaic to `metrics.json`, the tables beside it, and the means that they name."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.bootstrap import METHOD, Interval, bootstrap, pool_by_patient
from rcm_cascade.evaluate.coherence import pool_coherence
from rcm_cascade.evaluate.confusion import dice, macro_mean, macro_means, pixel_accuracy, sensitivity, specificity
from rcm_cascade.evaluate.results import MosaicResult, format_results, score_mosaic
from rcm_cascade.files import written_whole

__all__ = [
    "MosaicResult",
    "per_mosaic_rows",
    "per_patient_rows",
    "score_mosaic",
    "summarise",
    "write_metrics",
    "write_whole",
]

NUMBERS: Final[Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]]] = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "dice": dice,
}
"""What is told of each class, from matrices ``(…, C, C)``."""


def summarise(
    results: Sequence[MosaicResult],
    classes: ClassTable,
    *,
    synthetic: bool = False,
    draws: int = 1000,
    seed: int = 0,
    calibration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All numbers of a set of mosaics, in the form of `metrics.json`: plain types, ``None`` where undefined.

    Matrices are pooled over mosaics; ``mean`` is the macro mean over the classes present in the truth; intervals are
    those of `bootstrap`. ``averages`` has the same mean three ways: from the pooled matrix, and as mean and standard
    deviation over mosaics and over patients, of each one's own macro mean. ``levels`` has each level's own map, coarse
    to fine; it is empty where they were not measured, or where the mosaics' levels differ. ``patients`` of a class are
    those who have a labelled pixel of it; each of the ``mosaics_without_patient`` counts as a patient.

    Args:
        results: one a mosaic, at least one.
        classes: the class table.
        synthetic: whether the mosaics are phantoms.
        draws: bootstrap resamples.
        seed: of the bootstrap.
        calibration: of `measure_calibration`; ``None``: not measured.

    Raises:
        ValueError: without a result.
    """
    if not results:
        raise ValueError("there is no result to summarise; expected at least one mosaic")
    matrices, patients = [r.confusion for r in results], [r.patient for r in results]
    matrix = np.sum(matrices, axis=0)
    intervals = bootstrap(matrices, patients, draws=draws, seed=seed)
    numbers = {key: number(matrix) for key, number in NUMBERS.items()}
    mean = _means(matrix)
    predicted = [r.prediction_coherence for r in results if r.prediction_coherence is not None]
    true = [r.truth_coherence for r in results if r.truth_coherence is not None]
    return {
        "classes": [
            {
                "name": name,
                "labelled_pixels": int(matrix[i].sum()),
                "patients": intervals.holding[i],
                **{key: _plain(values[i]) for key, values in numbers.items()},
                "sensitivity_ci": _listed(intervals.sensitivity[i]),
                "specificity_ci": _listed(intervals.specificity[i]),
                "dice_ci": _listed(intervals.dice[i]),
            }
            for i, name in enumerate(classes.names)
        ],
        "mean": {
            **mean,
            "sensitivity_ci": _listed(intervals.mean_sensitivity),
            "specificity_ci": _listed(intervals.mean_specificity),
            "dice_ci": _listed(intervals.mean_dice),
        },
        "averages": {
            "pooled": mean,
            "per_mosaic": _spreads(np.stack(matrices)),
            "per_patient": _spreads(pool_by_patient(matrices, patients)),
        },
        "pixel_accuracy": _plain(pixel_accuracy(matrix)),
        "labelled_pixels": int(matrix.sum()),
        "confusion": matrix.tolist(),
        "mosaics": len(results),
        "patients": intervals.patients,
        "mosaics_without_patient": sum(not r.patient_given for r in results),
        "bootstrap": {
            "method": METHOD,
            "patients": intervals.patients,
            "draws": intervals.draws,
            "level": intervals.level,
            "seed": intervals.seed,
        },
        "coherence": {
            "prediction": pool_coherence(predicted, classes.names),
            "truth": pool_coherence(true, classes.names),
        },
        "levels": _levels(results, classes),
        "calibration": None if calibration is None else dict(calibration),
        "synthetic": synthetic,
    }


def per_mosaic_rows(results: Sequence[MosaicResult], classes: ClassTable) -> list[dict[str, str]]:
    """One row a mosaic, as text: blank where undefined."""
    return [
        {
            "mosaic": r.mosaic,
            "patient": r.patient,
            "site": r.site,
            "pixel_size_um": "" if r.pixel_size_um is None else f"{r.pixel_size_um:g}",
            **_cells(r.confusion, classes),
        }
        for r in results
    ]


def per_patient_rows(results: Sequence[MosaicResult], classes: ClassTable) -> list[dict[str, str]]:
    """One row a patient in alphabetical order, from the matrix of all their mosaics, as text: blank where undefined."""
    patients = [r.patient for r in results]
    matrices = pool_by_patient([r.confusion for r in results], patients)
    return [
        {"patient": patient, "mosaics": str(patients.count(patient)), **_cells(matrix, classes)}
        for patient, matrix in zip(sorted(set(patients)), matrices, strict=True)
    ]


def write_metrics(
    out: Path, summary: dict[str, Any], results: Sequence[MosaicResult], classes: ClassTable
) -> tuple[Path, Path]:
    """Writes `metrics.json` (the summary), `per_mosaic.csv`, `per_patient.csv` and `confusions.json`.

    The folder is made if need be. `confusions.json` is for `read_results`.

    Returns:
        The first two paths.
    """
    write_whole(out / "per_mosaic.csv", _csv(per_mosaic_rows(results, classes)))
    write_whole(out / "per_patient.csv", _csv(per_patient_rows(results, classes)))
    write_whole(out / "confusions.json", format_results(results, classes))
    write_whole(out / "metrics.json", json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return out / "metrics.json", out / "per_mosaic.csv"


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; an existing file is replaced."""
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode())


def _means(matrix: NDArray[np.int64]) -> dict[str, float | None]:
    return {key: _plain(macro_mean(number(matrix), matrix)) for key, number in NUMBERS.items()}


def _spreads(matrices: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation (of a sample) and count of the macro means of ``(n, C, C)``, where defined."""
    spreads = {}
    for key, number in NUMBERS.items():
        means = macro_means(number(matrices), matrices)
        means = means[~np.isnan(means)]
        spreads[key] = {
            "mean": float(means.mean()) if len(means) else None,
            "sd": float(means.std(ddof=1)) if len(means) > 1 else None,
            "n": len(means),
        }
    return spreads


def _levels(results: Sequence[MosaicResult], classes: ClassTable) -> list[dict[str, Any]]:
    factors = {tuple(level.factor for level in r.levels) for r in results}
    if len(factors) > 1:
        return []
    rows = []
    for i, factor in enumerate(factors.pop()):
        own = [r.levels[i] for r in results]
        matrix = np.sum([level.confusion for level in own], axis=0)
        numbers = {key: number(matrix) for key, number in NUMBERS.items()}
        regions = [level.coherence for level in own if level.coherence is not None]
        rows.append(
            {
                "level": i + 1,
                "factor": factor,
                "mean": _means(matrix),
                "classes": [
                    {"name": name, **{key: _plain(values[c]) for key, values in numbers.items()}}
                    for c, name in enumerate(classes.names)
                ],
                "coherence": pool_coherence(regions, classes.names),
            }
        )
    return rows


def _cells(matrix: NDArray[np.int64], classes: ClassTable) -> dict[str, str]:
    numbers = {key: number(matrix) for key, number in NUMBERS.items()}
    cells = {"labelled_pixels": str(int(matrix.sum())), "pixel_accuracy": _text(pixel_accuracy(matrix))}
    cells |= {f"mean_{key}": _text(macro_mean(values, matrix)) for key, values in numbers.items()}
    for key, values in numbers.items():
        cells |= {f"{key}_{name}": _text(float(v)) for name, v in zip(classes.names, values, strict=True)}
    return cells


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _listed(interval: Interval) -> list[float] | None:
    return None if interval is None else list(interval)


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
