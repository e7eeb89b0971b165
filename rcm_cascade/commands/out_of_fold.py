"""Out-of-fold results: every mosaic as the network sees it that was not trained on its patient, pooled over folds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from rcm_cascade.commands.fold_files import Folds
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.coherence import Coherence
from rcm_cascade.evaluate.origin import is_evaluation_of
from rcm_cascade.evaluate.results import COUNTS, LevelResult, MosaicResult, read_results
from rcm_cascade.report.outcomes import EVALUATION
from rcm_cascade.runs.folder import RunFolder

RESULTS_FILE: Final = "confusions.json"


@dataclass(frozen=True)
class FoldRun:
    """The run of one fold with one seed.

    Args:
        parent: folder of the cross-validation.
        design: value of ``model``; empty: the overrides'.
        fold: from 0.
        seed: of the run.
    """

    parent: Path
    design: str
    fold: int
    seed: int

    @property
    def run(self) -> RunFolder:
        """Its run folder."""
        name = f"fold{self.fold}-seed{self.seed}"
        return RunFolder(self.parent / (f"{self.design}-{name}" if self.design else name))

    @property
    def evaluation(self) -> Path:
        """Where its test mosaics are scored."""
        return self.run.path / EVALUATION

    @property
    def is_evaluated(self) -> bool:
        """Whether its test mosaics have been scored, one by one, with the checkpoint that it has now."""
        return is_evaluation_of(self.evaluation, self.run.best)

    def results(self) -> tuple[tuple[str, ...], list[MosaicResult]]:
        """The names of the classes, and one result a test mosaic.

        Raises:
            InputError: as `read_results`.
        """
        return read_results(self.evaluation / RESULTS_FILE)


@dataclass(frozen=True)
class Pooled:
    """The out-of-fold results of one design.

    Args:
        design: value of ``model``; empty: the overrides'.
        runs: that they come from: those of the seeds whose folds are all done.
        seeds: for each such seed one result a mosaic, in the manifest's order.
    """

    design: str
    runs: tuple[FoldRun, ...]
    seeds: Mapping[int, list[MosaicResult]]

    @property
    def results(self) -> list[MosaicResult]:
        """One a mosaic, summed over the seeds."""
        return pool_mosaics(list(self.seeds.values()))


def pool_folds(folds: Folds, design: str, runs: Sequence[FoldRun]) -> Pooled:
    """Reads what the runs of a design gave on the mosaics that their folds test.

    Args:
        folds: of the cross-validation.
        design: the runs'.
        runs: finished and evaluated, every fold of each seed.

    Raises:
        InputError: if an evaluation is unreadable or of other mosaics or classes than its fold's; or, by patient and by
            site, if a mosaic is not tested exactly once.
    """
    order = {entry.mosaic: i for i, entry in enumerate(folds.dataset.entries)}
    seeds = {}
    for seed in dict.fromkeys(run.seed for run in runs):
        tested = []
        for run in [run for run in runs if run.seed == seed]:
            names, results = run.results()
            if names != folds.dataset.classes.names or [r.mosaic for r in results] != folds.tested(run.fold):
                raise InputError(
                    f"{run.evaluation} scores other mosaics or classes than {folds.file(run.fold)} and "
                    f"{folds.dataset.root} name; delete it, and the same command makes it anew"
                )
            tested.append(results)
        seeds[seed] = sorted(pool_mosaics(tested), key=lambda r: order[r.mosaic])
        if folds.rule.rule != "paper":
            labelled = [entry.mosaic for entry in folds.dataset.entries if entry.label is not None]
            if sorted(r.mosaic for part in tested for r in part) != sorted(labelled):
                raise InputError(
                    f"the folds in {folds.folder} do not test every labelled mosaic of {folds.dataset.root} exactly "
                    "once; delete that folder and cross-validate again"
                )
    return Pooled(design, tuple(runs), seeds)


def pool_mosaics(parts: Iterable[Sequence[MosaicResult]]) -> list[MosaicResult]:
    """One result a mosaic, in the order of first occurrence; counts of one that occurs again are summed."""
    groups: dict[str, list[MosaicResult]] = {}
    for result in (result for part in parts for result in part):
        groups.setdefault(result.mosaic, []).append(result)
    return [_sum(group) for group in groups.values()]


def _sum(group: Sequence[MosaicResult]) -> MosaicResult:
    """What was counted on one mosaic several times, together."""
    first = group[0]
    if len(group) == 1:
        return first
    factors = {tuple(level.factor for level in r.levels) for r in group}
    return MosaicResult(
        mosaic=first.mosaic,
        patient=first.patient,
        patient_given=first.patient_given,
        site=first.site,
        pixel_size_um=first.pixel_size_um,
        confusion=np.sum([r.confusion for r in group], axis=0),
        prediction_coherence=_sum_regions([r.prediction_coherence for r in group]),
        truth_coherence=_sum_regions([r.truth_coherence for r in group]),
        levels=tuple(
            LevelResult(
                factor,
                np.sum([r.levels[i].confusion for r in group], axis=0),
                _sum_regions([r.levels[i].coherence for r in group]),
            )
            for i, factor in enumerate(factors.pop() if len(factors) == 1 else ())
        ),
    )


def _sum_regions(group: Sequence[Coherence | None]) -> Coherence | None:
    measured = [regions for regions in group if regions is not None]
    if len(measured) < len(group):
        return None
    sums = {name: np.sum([getattr(regions, name) for regions in measured], axis=0) for name in COUNTS}
    return Coherence(**sums, pixel_size_um=measured[0].pixel_size_um)
