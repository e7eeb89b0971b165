"""Does more deformed meshwork in training cure its confusion with ring and patternless? On phantoms.

Scores the runs of run.sh on phantoms of which half the meshwork is deformed, and writes a table.
Usage: python experiments/meshwork/meshwork.py RUNS OUT
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import write_split
from rcm_cascade.evaluate.bootstrap import paired_differences
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.phantom import write_phantoms
from rcm_cascade.report.compare import group_jobs
from rcm_cascade.report.pages import evaluate
from rcm_cascade.runs.jobs import Job, read_sweep

MOSAICS: Final = 16
DEFORMED: Final = 0.5
SEED: Final = 77
"""Of the phantoms that are tested on; training's have another."""

MESHWORK, RING, PATTERNLESS = (RCM_CLASSES.names.index(name) for name in ("meshwork", "ring", "patternless"))


def test_phantoms(folder: Path) -> Path:
    """Phantoms that no run was trained on, all in the test split; made once."""
    if not (folder / "dataset.yaml").is_file():
        write_phantoms(folder, mosaics=MOSAICS, size_mm=(6, 6), pixel_size_um=8, seed=SEED, deformed_meshwork=DEFORMED)
    write_split(folder / "all-test.csv", {entry.mosaic: "test" for entry in read_dataset(folder).entries})
    return folder


def scored(job: Job, phantoms: Path) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Patients, and the confusion matrix of each, ``(P, C, C)``."""
    out = job.folder.path / "deformed"
    if not (out / "confusions.json").is_file():
        evaluate(job.folder.best, phantoms, "test", out, phantoms / "all-test.csv")
    _, results = read_results(out / "confusions.json")
    return [r.patient for r in results], np.stack([r.confusion for r in results])


def main(runs: Path, out: Path) -> None:
    phantoms = test_phantoms(Path("phantoms") / f"meshwork-test-{MOSAICS}-{DEFORMED:g}-seed{SEED}")
    found = {
        c.label: {job.seed: scored(job, phantoms)[1] for job in c.jobs if job.state == "finished"}
        for c in group_jobs(read_sweep(runs))
    }
    reference = next(iter(found))
    lines = [
        f"{MOSAICS} phantom patients, {DEFORMED:.0%} of their meshwork deformed; mean ± sd over seeds; differences to "
        f"`{reference}` with 95 % intervals over patients and seeds.",
        "",
        "| deformed in training | meshwork found | difference | taken for ring | for patternless | mean of classes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for label, by_seed in found.items():
        shares = np.stack([row_shares(m.sum(axis=0))[MESHWORK] for m in by_seed.values()])
        numbers = np.stack([METRICS["sensitivity"].with_mean(m.sum(axis=0)) for m in by_seed.values()])
        difference = paired_differences(by_seed, found[reference], METRICS["sensitivity"].with_mean)[MESHWORK]
        told = "–"
        if label != reference and difference.value is not None and difference.interval is not None:
            told = f"{difference.value:+.3f} ({difference.interval[0]:+.3f} to {difference.interval[1]:+.3f})"
        cells = [_spread(numbers[:, MESHWORK]), told, _spread(shares[:, RING]), _spread(shares[:, PATTERNLESS])]
        lines.append(f"| {label} | {' | '.join([*cells, _spread(numbers[:, -1])])} |")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(out)


def _spread(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}" if len(values) > 1 else f"{values.mean():.3f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
