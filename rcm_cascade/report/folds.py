"""Cross-validation: jobs that differ in their fold alone are one job, which tested every mosaic."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.folds import untrained_classes
from rcm_cascade.data.splits import read_split
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.jobs import Job, State, Sweep
from rcm_cascade.yaml_file import read_yaml

_FOLD: Final = re.compile(r"\+{0,2}data\.fold=(\d+)")
"""The override by which a fold differs from another of the same configuration and seed."""


def pool_folds(
    sweep: Sweep, outcomes: Mapping[str, Outcome], failures: Mapping[str, str], classes: ClassTable
) -> tuple[Sweep, dict[str, Outcome], dict[str, str]]:
    """A job of each configuration and seed in place of those of its folds; others stay as they are.

    Its outcome has each mosaic as the fold that tests it predicted it, as often as folds test it. It has no curves
    and no calibration, which folds do not share. Where a fold has no outcome, there is none.

    Args:
        sweep: of the folds.
        outcomes: by the name of the job.
        failures: by the name of the job: why a finished one has no outcome.
        classes: of the outcomes.

    Returns:
        The same three, of the pooled jobs.
    """
    sets: dict[tuple[tuple[str, ...], int], dict[int, Job]] = {}
    kept, why = [], dict(failures)
    pooled: dict[str, Outcome] = {}
    for job in sweep.jobs:
        overrides = tuple(o for o in job.overrides if not _FOLD.fullmatch(o))
        if overrides == job.overrides:
            kept.append(job)
            pooled |= {job.name: outcomes[job.name]} if job.name in outcomes else {}
        else:
            fold = next(int(match[1]) for o in reversed(job.overrides) if (match := _FOLD.fullmatch(o)))
            sets.setdefault((overrides, job.seed), {}).setdefault(fold, job)
    seen = 1 + max((fold for folds in sets.values() for fold in folds), default=0)
    for (overrides, seed), folds in sets.items():
        first = folds[min(folds)]
        data = _data(first)
        count = max(seen, int(data.get("folds") or data.get("repeats") or 0))
        lacking = [k for k in range(count) if k not in folds or folds[k].name not in outcomes]
        states: list[State] = [folds[k].state if k in folds else "unfinished" for k in lacking]
        why_not = {k: failures.get(job.name) or job.sentence for k, job in folds.items()}
        reasons = [f"fold {k}: {why_not.get(k, 'not in the sweep')}" for k in lacking]
        state: State = next((state for state in states if state != "finished"), "finished")
        sentence = f"{len(reasons)} of {count} folds have no result ({'; '.join(reasons)})" if reasons else ""
        name = re.sub(r"data\.fold=\d+", "folds", first.name)
        job = Job(name, RunFolder(sweep.path / name), overrides, seed, state, sentence)
        kept.append(job)
        if not reasons:
            pooled[name] = _pool(job, {k: outcomes[folds[k].name] for k in sorted(folds)}, classes)
        elif state == "finished":
            why[name] = sentence
    return replace(sweep, jobs=tuple(kept)), pooled, why


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
    results = {m.mosaic: m for fold in folds.values() for m in fold.mosaics}
    pixels = {name: result.confusion.sum(axis=1) for name, result in results.items()}
    straddling: set[str] = set()
    for k, fold in folds.items():
        if not fold.job.folder.split.is_file():
            continue
        split = read_split(fold.job.folder.split)
        trained = {mosaic for mosaic, part in split.items() if part == "train"}
        straddling |= {results[m].patient for m in trained & set(results)} & {m.patient for m in fold.mosaics}
        if trained and trained <= set(results):
            unknown = untrained_classes({m: part for m, part in split.items() if m in results}, pixels)
            names = ", ".join(fold.classes[label] for label in unknown)
            facts |= {f"fold {k} cannot know": f"{names}: no training mosaic of it has any"} if unknown else {}
    if straddling:
        facts["caution"] = (
            f"tested on patients who were trained on too: {', '.join(sorted(straddling))}; the numbers are too good"
        )
    return facts


def _data(job: Job) -> dict[str, Any]:
    """The section ``data`` of a job's configuration; empty where it cannot be read."""
    try:
        return dict(read_yaml(job.folder.config)["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _pool(job: Job, folds: Mapping[int, Outcome], classes: ClassTable) -> Outcome:
    first = next(iter(folds.values()))
    mosaics = tuple(mosaic for fold in folds.values() for mosaic in fold.mosaics)
    synthetic = any(bool(fold.metrics.get("synthetic")) for fold in folds.values())
    metrics = summarise(mosaics, classes, synthetic=synthetic, draws=1)
    return Outcome(job, first.classes, mosaics, metrics, first.result, [], folds)
