"""Cross-validation: jobs that differ in their fold alone are one job, which tested every mosaic."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import yaml

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.splits import read_split
from rcm_cascade.evaluate.coherence import Coherence
from rcm_cascade.evaluate.results import COUNTS, MosaicResult
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.jobs import Job, State, Sweep

_FOLD: Final = re.compile(r"\+{0,2}data\.fold=(\d+)")
"""The override by which a fold differs from another of the same configuration and seed."""

_COUNT: Final = {"patients": "folds", "paper": "repeats"}
"""By the rule, the key that says how many folds there are; by site the data say it."""


def pool_folds(
    sweep: Sweep, outcomes: Mapping[str, Outcome], failures: Mapping[str, str], classes: ClassTable
) -> tuple[Sweep, dict[str, Outcome], dict[str, str]]:
    """A job of each configuration and seed in place of those of its folds; others stay as they are.

    Its outcome has each mosaic as the fold that tests it predicted it, counts of one that several folds test summed. It
    has no curves and no calibration, which folds do not share. Where a fold has no outcome, there is none.

    Args:
        sweep: of the folds.
        outcomes: by the name of the job.
        failures: by the name of the job: why a finished one has no outcome.
        classes: of the outcomes.

    Returns:
        The same three, of the pooled jobs.
    """
    sets: dict[tuple[tuple[str, ...], int], dict[int, Job]] = {}
    kept = []
    for job in sweep.jobs:
        found = [int(match[1]) for o in job.overrides if (match := _FOLD.fullmatch(o))]
        if found:
            overrides = tuple(o for o in job.overrides if not _FOLD.fullmatch(o))
            sets.setdefault((overrides, job.seed), {}).setdefault(found[-1], job)
        else:
            kept.append(job)
    seen = 1 + max((fold for folds in sets.values() for fold in folds), default=0)
    pooled, why = {job.name: outcomes[job.name] for job in kept if job.name in outcomes}, dict(failures)
    for (overrides, seed), folds in sets.items():
        first = folds[min(folds)]
        data = _data(first)
        count = max(seen, int(data.get(_COUNT.get(data.get("rule", ""), ""), None) or 0))
        lacking = {k: folds.get(k) for k in range(count) if k not in folds or folds[k].name not in outcomes}
        reasons = [
            f"fold {k}: {'not in the sweep' if job is None else failures.get(job.name) or job.sentence}"
            for k, job in lacking.items()
        ]
        sentence = f"{len(lacking)} of {count} folds have no result ({'; '.join(reasons)})" if lacking else ""
        states: list[State] = ["unfinished" if job is None else job.state for job in lacking.values()]
        state: State = next((state for state in states if state != "finished"), "finished")
        name = re.sub(r"data\.fold=\d+", "folds", first.name)
        job = Job(name, RunFolder(sweep.path / name), overrides, seed, state, sentence)
        kept.append(job)
        if not lacking:
            pooled[name] = _pool(job, {k: outcomes[folds[k].name] for k in sorted(folds)}, classes)
        elif state == "finished":
            why[name] = sentence
    return replace(sweep, jobs=tuple(kept)), pooled, why


def pool_mosaics(parts: Sequence[Sequence[MosaicResult]]) -> list[MosaicResult]:
    """One result a mosaic, in the order of first occurrence; counts of one that occurs again are summed."""
    groups: dict[str, list[MosaicResult]] = {}
    for result in (result for part in parts for result in part):
        groups.setdefault(result.mosaic, []).append(result)
    return [group[0] if len(group) == 1 else _sum(group) for group in groups.values()]


def describe_folds(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """How folds were made and what is wrong with them, for the page; empty where nothing was cross-validated."""
    folds = next((outcome.folds for outcome in outcomes if outcome.folds), {})
    if not folds:
        return {}
    data = _data(folds[0].job)
    made = {"patients": "of patients", "sites": "one a site", "paper": "of mosaics drawn at random, whosever they are"}
    facts = {
        "folds": f"{len(folds)} {made.get(data.get('rule', ''), '')} (data.split_seed={data.get('split_seed', 0)})"
    }
    held = {m.mosaic: (m.patient, m.confusion.sum(axis=1) > 0) for fold in folds.values() for m in fold.mosaics}
    straddling: set[str] = set()
    for k, fold in folds.items():
        if not fold.job.folder.split.is_file():
            continue
        trained = [mosaic for mosaic, part in read_split(fold.job.folder.split).items() if part == "train"]
        straddling |= {held[m][0] for m in trained if m in held} & {m.patient for m in fold.mosaics}
        if trained and all(mosaic in held for mosaic in trained):
            lacking = np.any([held[m.mosaic][1] for m in fold.mosaics], axis=0)
            lacking &= ~np.any([held[mosaic][1] for mosaic in trained], axis=0)
            if lacking.any():
                names = ", ".join(name for name, lacks in zip(fold.classes, lacking, strict=True) if lacks)
                facts[f"fold {k} cannot know"] = f"{names}: no training mosaic of it has any"
    if straddling:
        facts["caution"] = (
            f"tested on patients who were trained on too: {', '.join(sorted(straddling))}; the numbers are too good"
        )
    return facts


def _data(job: Job) -> dict[str, Any]:
    """The section ``data`` of a job's configuration; empty where it cannot be read."""
    try:
        return dict(yaml.safe_load(job.folder.config.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}


def _pool(job: Job, folds: Mapping[int, Outcome], classes: ClassTable) -> Outcome:
    first = next(iter(folds.values()))
    mosaics = pool_mosaics([fold.mosaics for fold in folds.values()])
    synthetic = any(bool(fold.metrics.get("synthetic")) for fold in folds.values())
    metrics = summarise(mosaics, classes, synthetic=synthetic, draws=1)
    return Outcome(job, first.classes, tuple(mosaics), metrics, first.result, [], folds)


def _sum(group: Sequence[MosaicResult]) -> MosaicResult:
    """What was counted on one mosaic several times, together."""
    levels = zip(*(r.levels for r in group), strict=True) if len({_factors(r) for r in group}) == 1 else ()
    return replace(
        group[0],
        confusion=np.sum([r.confusion for r in group], axis=0),
        prediction_coherence=_sum_regions([r.prediction_coherence for r in group]),
        truth_coherence=_sum_regions([r.truth_coherence for r in group]),
        levels=tuple(
            replace(
                of_level[0],
                confusion=np.sum([level.confusion for level in of_level], axis=0),
                coherence=_sum_regions([level.coherence for level in of_level]),
            )
            for of_level in levels
        ),
    )


def _factors(result: MosaicResult) -> tuple[int, ...]:
    return tuple(level.factor for level in result.levels)


def _sum_regions(group: Sequence[Coherence | None]) -> Coherence | None:
    measured = [regions for regions in group if regions is not None]
    if len(measured) < len(group):
        return None
    return replace(measured[0], **{name: np.sum([getattr(c, name) for c in measured], axis=0) for name in COUNTS})
