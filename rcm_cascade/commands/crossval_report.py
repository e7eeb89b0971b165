"""What a cross-validation writes: a table of its runs, and the pooled report of each design."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from rcm_cascade import __version__
from rcm_cascade.commands.fold_files import Folds
from rcm_cascade.commands.out_of_fold import FoldRun, Pooled, pool_folds
from rcm_cascade.data.splits import patients_straddling
from rcm_cascade.evaluate.confusion import dice, macro_mean
from rcm_cascade.evaluate.metrics import summarise, write_whole
from rcm_cascade.report.csv_tables import to_csv
from rcm_cascade.report.evaluation import Comparisons, write_evaluation
from rcm_cascade.report.findings import METRIC_NAMES
from rcm_cascade.report.spread import Spread, spread
from rcm_cascade.report.table import counted
from rcm_cascade.runs.folder import write_json
from rcm_cascade.runs.score import comparison_path

TABLE_FILE: Final = "crossval.csv"


def pool_designs(folds: Folds, runs: Sequence[FoldRun], failures: Mapping[FoldRun, str]) -> list[Pooled]:
    """The out-of-fold results of each design that has a seed of which every fold is done; the others are named.

    Args:
        folds: of the cross-validation.
        runs: all of them.
        failures: why a run has no result.

    Raises:
        InputError: as `pool_folds`.
    """
    pooled = []
    for design in dict.fromkeys(run.design for run in runs):
        own = [run for run in runs if run.design == design]
        broken = {run.seed for run in own if run in failures}
        for seed in sorted(broken):
            print(f"no pooled result of seed {seed}{' of ' * bool(design)}{design}: a fold failed", file=sys.stderr)
        whole = [run for run in own if run.seed not in broken]
        if whole:
            pooled.append(pool_folds(folds, design, whole))
    return pooled


def write_table(folds: Folds, runs: Sequence[FoldRun], failures: Mapping[FoldRun, str]) -> None:
    """Writes `crossval.csv`: a row a run, with the means over classes of its own test mosaics; blank if it failed."""
    rows = []
    for run in runs:
        mean = {} if run in failures else _means_of_run(run)
        row = {"design": run.design, "fold": str(run.fold), "seed": str(run.seed), "folder": run.run.path.name}
        row["mosaics"] = str(len(folds.tested(run.fold)))
        row |= {f"mean_{key}": "" if mean.get(key) is None else f"{mean[key]:.6f}" for key in METRIC_NAMES}
        rows.append(row | {"failure": failures.get(run, "")})
    write_whole(folds.folder / TABLE_FILE, to_csv(rows))


def write_pooled(out: Path, folds: Folds, pooled: Pooled, told: Sequence[str]) -> dict[str, Any]:
    """Writes the pooled report of a design: the files of `write_evaluation`; of several seeds also one folder a seed.

    With several seeds each mosaic's counts are summed over them. `metrics.json` has in addition ``seeds``, the means of
    each seed, and ``over_seeds``, their mean and standard deviation.

    Args:
        out: the folder.
        folds: of the cross-validation.
        pooled: the design's results.
        told: overrides, for the page.

    Returns:
        The content of `metrics.json`.
    """
    means = {seed: summarise(results, folds.dataset.classes)["mean"] for seed, results in pooled.seeds.items()}
    over_seeds = {key: spread(mean[key] for mean in means.values()) for key in METRIC_NAMES}
    if len(means) == 1:
        summary = _write(out, folds, pooled, told, {"seed": str(*means)}, "")
    else:
        for seed, results in pooled.seeds.items():
            runs = tuple(run for run in pooled.runs if run.seed == seed)
            single = replace(pooled, runs=runs, seeds={seed: results})
            _write(out / f"seed{seed}", folds, single, told, {"seed": str(seed)}, f", seed {seed}")
        facts = {f"seed {s}": _text({key: spread([mean[key]]) for key in METRIC_NAMES}) for s, mean in means.items()}
        facts[f"{len(means)} seeds, mean ± sd"] = _text(over_seeds)
        facts["pooled"] = f"counts are summed over the seeds: each labelled pixel counts {len(means)} times"
        summary = _write(out, folds, pooled, told, facts, "")
    summary |= {
        "seeds": [{"seed": seed, "mean": mean} for seed, mean in means.items()],
        "over_seeds": {key: asdict(value) for key, value in over_seeds.items()},
    }
    write_json(out / "metrics.json", summary)
    return summary


def describe_folds(folds: Folds, told: Sequence[str]) -> dict[str, str]:
    """What was cross-validated and how, for the page."""
    labelled = [entry for entry in folds.dataset.entries if entry.label is not None]
    patients = {entry.patient for entry in labelled}
    facts = {
        "data": f"{folds.dataset.name}: {counted(len(labelled), 'mosaic')} of {counted(len(patients), 'patient')}",
        "folds": folds.sentence,
        "configuration": " ".join(told) or "the defaults",
        "rcm-cascade": __version__,
    }
    straddling = sorted({p for split in folds.splits for p in patients_straddling(folds.dataset, split)})
    if straddling:
        facts["caution"] = (
            f"tested on patients who were trained on too: {', '.join(straddling)}; the numbers are too good"
        )
    for fold, names in folds.untrained.items():
        facts[f"fold {fold} cannot know"] = f"{', '.join(names)}: no training mosaic of it has any"
    return facts


def _write(
    out: Path, folds: Folds, pooled: Pooled, told: Sequence[str], facts: Mapping[str, str], which: str
) -> dict[str, Any]:
    design = f", {pooled.design}" if pooled.design else ""
    return write_evaluation(
        out,
        results=pooled.results,
        classes=folds.dataset.classes,
        comparisons=_pictures(pooled),
        title=f"Cross-validation: {folds.dataset.name}{design}{which}",
        facts={**describe_folds(folds, told), **facts, **_facts_of_folds(folds, pooled)},
        synthetic=folds.dataset.synthetic,
    )


def _facts_of_folds(folds: Folds, pooled: Pooled) -> dict[str, str]:
    """Each fold's own mean, over seeds, and how these spread."""
    sites = {entry.mosaic: entry.site for entry in folds.dataset.entries}
    facts, means = {}, []
    for fold in range(len(folds.splits)):
        of_seeds = [_means_of_run(run) for run in pooled.runs if run.fold == fold]
        own = {key: spread(mean[key] for mean in of_seeds) for key in METRIC_NAMES}
        means.append({key: value.mean for key, value in own.items()})
        tested = folds.tested(fold)
        name = f"fold {fold}, {sites[tested[0]]}" if folds.rule.rule == "sites" else f"fold {fold}"
        facts[name] = f"{_text(own)} ({counted(len(tested), 'mosaic')})"
    over_folds = {key: spread(mean[key] for mean in means) for key in METRIC_NAMES}
    return facts | {f"{len(means)} folds, mean ± sd": _text(over_folds)}


def _means_of_run(run: FoldRun) -> dict[str, float | None]:
    mean = json.loads((run.evaluation / "metrics.json").read_text(encoding="utf-8"))["mean"]
    return {key: mean[key] for key in METRIC_NAMES}


def _text(numbers: Mapping[str, Spread]) -> str:
    """``"sensitivity 0.71 ± 0.02, …"``: macro means over classes."""
    parts = []
    for key, value in numbers.items():
        sd = "" if value.sd is None else f" ± {value.sd:.2f}"
        parts.append(f"{METRIC_NAMES[key]} {'–' if value.mean is None else f'{value.mean:.2f}{sd}'}")
    return ", ".join(parts)


def _pictures(pooled: Pooled) -> Comparisons:
    """The worst, the middle and the best mosaic by its mean Dice, as the first seed's networks annotated them."""
    found: dict[str, tuple[float, str, Path]] = {}
    for run in pooled.runs:
        if run.seed != pooled.runs[0].seed:
            continue
        for i, result in enumerate(run.results()[1]):
            score = macro_mean(dice(result.confusion), result.confusion)
            path = comparison_path(run.evaluation, i, result.mosaic)
            if not np.isnan(score) and path.is_file():
                found.setdefault(result.mosaic, (score, f"{result.mosaic}, tested by fold {run.fold}", path))
    ranked = sorted(found.values())
    if not ranked:
        return []
    names = {len(ranked) // 2: "Middle", len(ranked) - 1: "Best", 0: "Worst"}
    return [
        (f"{names[rank]} mosaic by mean Dice ({ranked[rank][0]:.2f}): {ranked[rank][1]}", Image.open(ranked[rank][2]))
        for rank in sorted(names)
    ]
