"""What a finished job came to: its confusions by mosaic, its regions, its curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.evaluate.bootstrap import pool_by_patient
from rcm_cascade.evaluate.results import MosaicResult
from rcm_cascade.runs.jobs import Job
from rcm_cascade.runs.score import EVALUATION
from rcm_cascade.training.history import Row

REGION_NUMBERS: Final = ("regions_per_area", "small_regions_share", "small_area_share")
"""What regions are summed up to; the names are those of `pool_coherence`."""

Tested = frozenset[tuple[str, str, tuple[int, ...]]]
"""Mosaic, patient and labelled pixels by class of each mosaic: two results with the same one can be compared."""


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
        """``(M, 4)``: regions of the predicted map, small ones, area, and area of the small ones, over all classes.

        Areas in mm², or in megapixels where no mosaic has a pixel size; where some have one, the others count nothing,
        as in `pool_coherence`. None where regions were not counted.
        """
        sized = any(m.pixel_size_um is not None for m in self.mosaics)
        rows = []
        for mosaic in self.mosaics:
            c = mosaic.prediction_coherence
            if c is None:
                return None
            unit = 1e-6 * (mosaic.pixel_size_um or 1.0) ** 2  # mm² or megapixels in one pixel
            row = [c.regions.sum(), c.small_regions.sum(), c.area_px.sum() * unit, c.small_area_px.sum() * unit]
            rows.append([0.0] * 4 if sized and mosaic.pixel_size_um is None else row)
        return np.array(rows, np.float64)

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
    def tested(self) -> Tested:
        """What it was tested on."""
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


def region_numbers(sums: NDArray[Any]) -> NDArray[np.float64]:
    """`REGION_NUMBERS` of ``(…, 4)`` as in `Outcome.regions`: ``(…, 3)``."""
    regions, small_regions, area, small_area = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([regions / area, small_regions / regions, small_area / area], axis=-1)
    return np.where(np.isfinite(ratios), ratios, np.nan)
