"""All numbers of a sweep as one long table, and their means over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.learning import reached, training_seconds
from rcm_cascade.report.outcomes import REGION_NUMBERS, Outcome

MEAN: Final = "mean"
"""The class of a macro mean over the classes."""

ALL: Final = "all"
"""The class of what is one number for a run (size, times, regions, calibration); the fold and the patient of what is
pooled over all."""

FINAL_MAP: Final = 0
"""The level of the final map; 1 is the coarsest level's own."""

COLUMNS: Final = ["configuration", "seed", "fold", "patient", "level", "class", "metric", "value"]

KEYS: Final = ["configuration", "level", "class", "metric"]
"""The index of a table of numbers over seeds."""


class Number(NamedTuple):
    """A row of the numbers over seeds; what is undefined is None.

    Args:
        mean: over the seeds.
        sd: standard deviation between seeds (n - 1).
        n: seeds that have it.
        difference: to the reference, or of a level to the next coarser.
        low: bound of its interval.
        high: the same.
        differs: whether the interval leaves out zero.
        patients: in whom it is defined, as `Difference` counts them.
    """

    mean: float | None = None
    sd: float | None = None
    n: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    differs: bool | None = None
    patients: int | None = None


def long_table(outcomes: Mapping[str, Sequence[Outcome]], score: float | None) -> pd.DataFrame:
    """One row a number, `COLUMNS`; NaN where undefined.

    Args:
        outcomes: by configuration.
        score: that `time to score` is measured to; None: it is not measured.
    """
    rows = [(label, o.job.seed, *row) for label, runs in outcomes.items() for o in runs for row in _rows(o, score)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float})


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """``mean``, ``sd`` and ``n`` over seeds of what is pooled over all folds and patients, by `KEYS`."""
    pooled = table[(table["fold"] == ALL) & (table["patient"] == ALL)]
    numbers: pd.DataFrame = pooled.groupby(KEYS, sort=False)["value"].agg(["mean", "std", "count"])
    return numbers.rename(columns={"std": "sd", "count": "n"})


def _rows(outcome: Outcome, score: float | None) -> Iterator[tuple[str, str, int, str, str, Any]]:
    matrices = [(ALL, ALL, outcome.confusions.sum(axis=0))]
    matrices += [(str(k), ALL, fold.confusions.sum(axis=0)) for k, fold in outcome.folds.items()]
    patients = sorted({m.patient for m in outcome.mosaics})
    matrices += [(ALL, *row) for row in zip(patients, outcome.by_patient(outcome.confusions), strict=True)]
    for fold, patient, matrix in matrices:
        for key, metric in METRICS.items():
            values = zip((*outcome.classes, MEAN), metric.with_mean(matrix).tolist(), strict=True)
            yield from ((fold, patient, FINAL_MAP, name, key, value) for name, value in values)
    for level in outcome.metrics.get("levels") or []:
        yield from ((ALL, ALL, level["level"], MEAN, key, level["mean"].get(key)) for key in METRICS)
        density = (level.get("coherence") or {}).get("regions_per_area")
        yield ALL, ALL, level["level"], ALL, "regions_per_area", density
    yield from ((ALL, ALL, FINAL_MAP, ALL, key, value) for key, value in _of_the_run(outcome, score).items())


def _of_the_run(outcome: Outcome, score: float | None) -> dict[str, Any]:
    regions = (outcome.metrics.get("coherence") or {}).get("prediction") or {}
    calibration = outcome.metrics.get("calibration") or {}
    seconds, epochs = (None if score is None else reached(outcome.history, score)) or (None, None)
    return {
        "parameters": outcome.result.get("parameters"),
        "gflop_per_mp": outcome.result.get("gflop_per_mp"),
        "train_seconds": training_seconds(outcome.history),
        "time_to_score_s": seconds,
        "epochs_to_score": epochs,
        **{key: regions[key] if regions else None for key in REGION_NUMBERS},
        "ece": calibration.get("ece"),
        "ece_at_temperature": calibration.get("ece_at_temperature") if calibration.get("temperature", 1) != 1 else None,
    }
