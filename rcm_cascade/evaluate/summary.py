"""From one confusion matrix a mosaic to `metrics.json`, the tables beside it, and the means that they name."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.bootstrap import LEVEL, METHOD, bootstrap, pool_by_patient
from rcm_cascade.evaluate.coherence import pool_coherence
from rcm_cascade.evaluate.confusion import pixel_accuracy
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import MosaicResult, format_results
from rcm_cascade.files import write_json, write_text


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
    matrices, patients = np.stack([r.confusion for r in results]), [r.patient for r in results]
    matrix, by_patient = matrices.sum(axis=0), pool_by_patient(matrices, patients)
    drawn = bootstrap(matrices, patients, draws=draws, seed=seed)
    *of_classes, mean = _numbers(matrix)
    *intervals, of_mean = (
        {f"{key}_ci": i if i is None else list(i) for key, i in zip(drawn, row, strict=True)}
        for row in zip(*drawn.values(), strict=True)
    )
    holding = (by_patient.sum(axis=2) > 0).sum(axis=0).tolist()
    return {
        "classes": [
            {"name": c.name, "color": c.color, "labelled_pixels": int(matrix[c.id].sum()), "patients": held}
            | numbers
            | bounds
            for c, held, numbers, bounds in zip(classes.classes, holding, of_classes, intervals, strict=True)
        ],
        "mean": mean | of_mean,
        "averages": {"pooled": mean, "per_mosaic": _spreads(matrices), "per_patient": _spreads(by_patient)},
        "pixel_accuracy": _plain(pixel_accuracy(matrix)),
        "labelled_pixels": int(matrix.sum()),
        "confusion": matrix.tolist(),
        "mosaics": len(results),
        "patients": len(by_patient),
        "mosaics_without_patient": sum(not r.patient_given for r in results),
        "bootstrap": {"method": METHOD, "patients": len(by_patient), "draws": draws, "level": LEVEL, "seed": seed},
        "coherence": {
            "prediction": pool_coherence([r.prediction_coherence for r in results], classes.names),
            "truth": pool_coherence([r.truth_coherence for r in results], classes.names),
        },
        "levels": _levels(results, classes.names),
        "calibration": None if calibration is None else dict(calibration),
        "synthetic": synthetic,
    }


def per_mosaic_table(results: Sequence[MosaicResult], classes: ClassTable) -> pd.DataFrame:
    """One row a mosaic; NaN where undefined."""
    about = pd.DataFrame([{name: getattr(r, name) for name in ("mosaic", "patient", "site")} for r in results])
    about["pixel_size_um"] = ["" if r.pixel_size_um is None else f"{r.pixel_size_um:g}" for r in results]
    return about.join(_table(np.stack([r.confusion for r in results]), classes))


def per_patient_table(results: Sequence[MosaicResult], classes: ClassTable) -> pd.DataFrame:
    """One row a patient in alphabetical order, from the matrix of all their mosaics; NaN where undefined."""
    patients = [r.patient for r in results]
    counts = pd.Series(patients, name="patient").value_counts().sort_index().rename("mosaics").reset_index()
    return counts.join(_table(pool_by_patient([r.confusion for r in results], patients), classes))


def write_metrics(out: Path, summary: dict[str, Any], results: Sequence[MosaicResult], classes: ClassTable) -> None:
    """Writes `metrics.json` (the summary), `per_mosaic.csv`, `per_patient.csv` and `confusions.json`.

    The folder is made if need be. `confusions.json` is for `read_results`.
    """
    for name, table in (("per_mosaic", per_mosaic_table), ("per_patient", per_patient_table)):
        text = table(results, classes).to_csv(index=False, float_format="%.6f", lineterminator="\n")
        write_text(out / f"{name}.csv", text)
    write_text(out / "confusions.json", format_results(results, classes))
    write_json(out / "metrics.json", summary)


def _numbers(matrix: NDArray[np.int64]) -> list[dict[str, float | None]]:
    """By metric: of each class and, last, the macro means, from ``(C, C)``."""
    columns = zip(*(metric.with_mean(matrix) for metric in METRICS.values()), strict=True)
    return [{key: _plain(value) for key, value in zip(METRICS, row, strict=True)} for row in columns]


def _spreads(matrices: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation (of a sample) and count of the macro means of ``(n, C, C)``, where defined."""
    spreads = {}
    for key, metric in METRICS.items():
        means = metric.with_mean(matrices)[:, -1]
        means = means[~np.isnan(means)]
        spreads[key] = {
            "mean": float(means.mean()) if len(means) else None,
            "sd": float(means.std(ddof=1)) if len(means) > 1 else None,
            "n": len(means),
        }
    return spreads


def _levels(results: Sequence[MosaicResult], names: Sequence[str]) -> list[dict[str, Any]]:
    if len({tuple(level.factor for level in r.levels) for r in results}) > 1:
        return []
    rows = []
    for number, levels in enumerate(zip(*(r.levels for r in results), strict=True), start=1):
        *of_classes, mean = _numbers(np.sum([level.confusion for level in levels], axis=0))
        named = [{"name": name} | numbers for name, numbers in zip(names, of_classes, strict=True)]
        coherence = pool_coherence([level.coherence for level in levels], names)
        about = {"level": number, "factor": levels[0].factor}
        rows.append(about | {"mean": mean, "classes": named, "coherence": coherence})
    return rows


def _table(matrices: NDArray[np.int64], classes: ClassTable) -> pd.DataFrame:
    """One row a matrix of ``(n, C, C)``: its labelled pixels and accuracy, the macro means, the numbers of classes."""
    columns = {"labelled_pixels": matrices.sum(axis=(1, 2)), "pixel_accuracy": [pixel_accuracy(m) for m in matrices]}
    values = {key: metric.with_mean(matrices) for key, metric in METRICS.items()}
    columns |= {f"mean_{key}": of[:, -1] for key, of in values.items()}
    columns |= {f"{key}_{name}": of[:, i] for key, of in values.items() for i, name in enumerate(classes.names)}
    return pd.DataFrame(columns)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
