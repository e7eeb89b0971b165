"""What finished jobs came to: of each its confusions by mosaic, its regions, its curves; their numbers as one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rcm_cascade.evaluate.bootstrap import pool_by_patient
from rcm_cascade.evaluate.coherence import REGION_NUMBERS, region_sums
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import MosaicResult
from rcm_cascade.report.learning import reached, training_seconds
from rcm_cascade.runs.jobs import Job
from rcm_cascade.runs.score import EVALUATION
from rcm_cascade.training.history import Row

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


@dataclass(frozen=True, eq=False)
class Outcome:
    """The test result of one job, and how it was trained.

    Args:
        job: that was run.
        classes: names, in id order.
        mosaics: the result of each, in the order of evaluation; at least one. Of folds, some may occur again.
        metrics: the content of `metrics.json`.
        result: the content of `result.json`.
        history: the rows of `metrics.csv`.
        folds: of a pooled cross-validation, the outcome of each fold by its number.
    """

    job: Job
    classes: tuple[str, ...]
    mosaics: tuple[MosaicResult, ...]
    metrics: Mapping[str, Any]
    result: Mapping[str, Any]
    history: Sequence[Row]
    folds: Mapping[int, "Outcome"] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the mosaics."""
        return tuple(m.mosaic for m in self.mosaics)

    @cached_property
    def confusions(self) -> NDArray[np.int64]:
        """``(M, C, C)``, rows = truth: one matrix a mosaic."""
        return np.stack([m.confusion for m in self.mosaics])

    @cached_property
    def levels(self) -> NDArray[np.int64] | None:
        """``(M, L, C, C)``, coarse to fine: the same of each level's own map; None where not recorded."""
        counts = {len(m.levels) for m in self.mosaics}
        if len(counts) != 1 or 0 in counts:
            return None
        return np.stack([[level.confusion for level in m.levels] for m in self.mosaics])

    @cached_property
    def regions(self) -> NDArray[np.float64] | None:
        """``(M, 4)``: `region_sums` of the predicted maps, over all classes; None where regions were not counted."""
        measured = [m.prediction_coherence for m in self.mosaics if m.prediction_coherence is not None]
        return region_sums(measured).sum(axis=2) if len(measured) == len(self.mosaics) else None

    def place(self, number: int) -> tuple[Path, int]:
        """The folder in which a mosaic was scored, and its number there; of a pooled outcome, its first fold's."""
        for fold in self.folds.values():
            if self.names[number] in fold.names:
                return fold.place(fold.names.index(self.names[number]))
        return self.job.folder.path / EVALUATION, number

    @property
    def count(self) -> int:
        """How many mosaics there are."""
        return len(set(self.names))

    @property
    def patients(self) -> int:
        """How many there are."""
        return len({m.patient for m in self.mosaics})

    @property
    def tested(self) -> frozenset[tuple[str, str, tuple[int, ...]]]:
        """Mosaic, patient and labelled pixels by class of each mosaic: results with the same ones can be compared."""
        return frozenset((m.mosaic, m.patient, tuple(m.confusion.sum(axis=1).tolist())) for m in self.mosaics)

    @property
    def nameless(self) -> int:
        """Mosaics of which the manifest names no patient: each counts as one."""
        return len({m.mosaic for m in self.mosaics if not m.patient_given})

    @property
    def holding(self) -> tuple[int, ...]:
        """How many patients have a labelled pixel of each class."""
        return tuple((self.by_patient(self.confusions).sum(axis=2) > 0).sum(axis=0).tolist())

    def by_patient(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums ``(M, …)`` over the mosaics of each patient: ``(P, …)``, patients in alphabetical order."""
        return pool_by_patient(values, [m.patient for m in self.mosaics])


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
