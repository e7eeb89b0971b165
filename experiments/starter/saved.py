"""What beginning with the starter's weights saves: the table of scored sweeps of `+sweep=starter`, a fraction each.

Usage: python experiments/starter/saved.py OUT SWEEP_DIR …
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.script import difference_text, run, spread, table
from rcm_cascade.data.splits import read_split
from rcm_cascade.evaluate.bootstrap import Difference, paired_differences
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import write_text
from rcm_cascade.report.compare import group_jobs
from rcm_cascade.report.learning import MONITORED
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.runs.jobs import read_sweep
from rcm_cascade.training.history import Row

HEADS = [
    "labelled patients",
    "begins with",
    "mean sensitivity",
    "Δ",
    "specificity",
    "Δ",
    "steps to scratch's last score",
]

Outcomes = Mapping[int, Outcome]
"""By seed."""


def main(out: Path, sweeps: list[Path]) -> None:
    lines: list[list[str]] = []
    tested: set[str] = set()
    for sweep in sweeps:
        by_label = {c.label: c.jobs for c in group_jobs(read_sweep(sweep))}
        scratch, starter = (
            {job.seed: read_outcome(job) for job in by_label[label] if job.state == "finished"}
            for label in ("init=null", "init=starter")
        )
        tested |= {f"{o.metrics['mosaics']} test mosaics of {o.metrics['patients']}" for o in scratch.values()}
        lines += rows(scratch, starter)
    caption = (
        f"{' / '.join(sorted(tested))} phantom patients; mean ± sd over seeds. Δ: starter less random weights, with "
        "95 % intervals over patients and seeds, bold where they leave out zero. Steps, seed by seed: until the "
        "validation regions' mean sensitivity first is what the run of the same seed from random weights ends with, "
        "of that run's steps."
    )
    write_text(out, f"{caption}\n\n{table(HEADS, lines, words=2)}\n")


def rows(scratch: Outcomes, starter: Outcomes) -> list[list[str]]:
    """Two rows of the table: from random weights, and from the starter's."""
    first = next(iter(scratch.values()))
    patients = str(
        list(read_split(first.job.folder.split).values()).count("train")
    )  # of phantoms, one mosaic a patient
    random, ours = [patients, "random weights"], [patients, "starter"]
    for metric in ("sensitivity", "specificity"):
        for cells, outcomes in ((random, scratch), (ours, starter)):
            cells.append(spread([o.metrics["mean"][metric] for o in outcomes.values()]))
        random.append("–")
        ours.append(difference_text(_paired(starter, scratch, metric)))
    reached = []
    for seed in (seed for seed in starter if seed in scratch):
        history = scratch[seed].history
        steps, taken = steps_to(starter[seed].history, last_score(history)), max(row["step"] for row in history) + 1
        reached.append(f"{'never' if steps is None else f'{steps:.0f}'} of {taken:.0f}")
    return [[*random, "–"], [*ours, ", ".join(reached)]]


def steps_to(history: Sequence[Row], score: float) -> float | None:
    """Steps until the validation regions' mean sensitivity was first ``score`` or more; None where it never was."""
    return next((row["step"] + 1 for row in history if row.get(MONITORED, -math.inf) >= score), None)


def last_score(history: Sequence[Row]) -> float:
    """The last mean sensitivity of the validation regions."""
    return [row[MONITORED] for row in history if MONITORED in row][-1]


def _paired(ours: Outcomes, theirs: Outcomes, metric: str) -> Difference:
    a, b = ({seed: o.by_patient(o.confusions) for seed, o in outcomes.items()} for outcomes in (ours, theirs))
    return paired_differences(a, b, METRICS[metric].with_mean)[-1]


if __name__ == "__main__":
    run(main)
