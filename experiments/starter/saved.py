"""What beginning with the starter's weights saves: the table of scored sweeps of `+sweep=starter`, a fraction each.

Usage: python experiments/starter/saved.py OUT SWEEP_DIR …
"""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.data.splits import read_split
from rcm_cascade.evaluate.bootstrap import Difference, paired_differences, pool_by_patient
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.compare import group_jobs
from rcm_cascade.report.learning import MONITORED
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.runs.jobs import read_sweep
from rcm_cascade.training.history import Row

SCRATCH: Final = "init=null"
STARTER: Final = "init=starter"
HEADS: Final = (
    "labelled patients", "begins with", "mean sensitivity", "Δ", "specificity", "Δ", "steps to scratch's last score",
)  # fmt: skip

Outcomes = Mapping[int, Outcome]
"""By seed."""


def main(out: Path, sweeps: Sequence[Path]) -> None:
    lines = [f"| {' | '.join(HEADS)} |", "|---:|---|" + "---:|" * (len(HEADS) - 2)]
    tested: set[str] = set()
    for sweep in sweeps:
        by_label = {c.label: c.jobs for c in group_jobs(read_sweep(sweep))}
        scratch, starter = (
            {job.seed: read_outcome(job) for job in by_label[label] if job.state == "finished"}
            for label in (SCRATCH, STARTER)
        )
        tested |= {f"{o.metrics['mosaics']} test mosaics of {o.metrics['patients']}" for o in scratch.values()}
        lines += rows(scratch, starter)
    out.write_text("\n".join([_caption(" / ".join(sorted(tested))), "", *lines]) + "\n", encoding="utf-8")
    print(out)


def rows(scratch: Outcomes, starter: Outcomes) -> list[str]:
    """Two rows of the table: from random weights, and from the starter's."""
    told = {}
    for name, outcomes in (("random weights", scratch), ("starter", starter)):
        told[name] = [
            _spread([o.metrics["mean"][metric] for o in outcomes.values()]) for metric in ("sensitivity", "specificity")
        ]
    a, b = (_difference(_paired(starter, scratch, metric)) for metric in ("sensitivity", "specificity"))
    patients = training_patients(next(iter(scratch.values())))
    steps = {seed: (steps_to(o.history, last_score(scratch[seed].history)), _last(scratch[seed].history))
             for seed, o in starter.items() if seed in scratch}  # fmt: skip
    reached = ", ".join(f"{'never' if n is None else f'{n:.0f}'} of {of:.0f}" for n, of in steps.values())
    (s0, p0), (s1, p1) = told["random weights"], told["starter"]
    return [
        f"| {patients} | random weights | {s0} | – | {p0} | – | – |",
        f"| {patients} | starter | {s1} | {a} | {p1} | {b} | {reached} |",
    ]


def steps_to(history: Sequence[Row], score: float) -> float | None:
    """Steps until the validation regions' mean sensitivity was first ``score`` or more; None where it never was."""
    return next((row["step"] + 1 for row in history if row.get(MONITORED, -math.inf) >= score), None)


def last_score(history: Sequence[Row]) -> float:
    """The last mean sensitivity of the validation regions."""
    return [row[MONITORED] for row in history if MONITORED in row][-1]


def training_patients(outcome: Outcome) -> int:
    """Training mosaics of a run's split: of phantoms, one a patient."""
    return list(read_split(outcome.job.folder.split).values()).count("train")


def _paired(ours: Outcomes, theirs: Outcomes, metric: str) -> Difference:
    pooled = [{seed: _by_patient(o) for seed, o in outcomes.items()} for outcomes in (ours, theirs)]
    return paired_differences(pooled[0], pooled[1], METRICS[metric].with_mean)[-1]


def _by_patient(outcome: Outcome) -> NDArray[np.int64]:
    return pool_by_patient(list(outcome.confusions), [m.patient for m in outcome.mosaics])


def _last(history: Sequence[Row]) -> float:
    return max(row["step"] for row in history) + 1


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def _difference(difference: Difference) -> str:
    if difference.value is None:
        return "–"
    told = f"{difference.value:+.3f}"
    if difference.interval is None:
        return told
    low, high = difference.interval
    return f"{f'**{told}**' if low > 0 or high < 0 else told} ({low:+.3f} to {high:+.3f})"


def _caption(tested: str) -> str:
    return (
        f"{tested} phantom patients; mean ± sd over seeds. Δ: starter less random weights, with 95 % intervals over "
        "patients and seeds, bold where they leave out zero. Steps, seed by seed: until the validation regions' mean "
        "sensitivity first is what the run of the same seed from random weights ends with, of that run's steps."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
