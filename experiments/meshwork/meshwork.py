"""Does more deformed meshwork in training cure its confusion with ring and patternless? On phantoms.

Scores the runs of run.sh on phantoms of which half the meshwork is deformed, and writes a table.
Usage: python experiments/meshwork/meshwork.py RUNS OUT
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.script import difference_text, run, spread, table
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import write_split
from rcm_cascade.evaluate.bootstrap import paired_differences
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.files import write_text
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


def scored(job: Job, phantoms: Path) -> NDArray[np.int64]:
    """The confusion matrix of each patient, ``(P, C, C)``."""
    out = job.folder.path / "deformed"
    if not (out / "confusions.json").is_file():
        evaluate(job.folder.best, phantoms, "test", out, phantoms / "all-test.csv")
    return np.stack([result.confusion for result in read_results(out / "confusions.json")[1]])


def main(runs: Path, out: Path) -> None:
    phantoms = test_phantoms(Path("phantoms") / f"meshwork-test-{MOSAICS}-{DEFORMED:g}-seed{SEED}")
    found = {
        c.label: {job.seed: scored(job, phantoms) for job in c.jobs if job.state == "finished"}
        for c in group_jobs(read_sweep(runs))
    }
    reference, numbers = next(iter(found)), METRICS["sensitivity"].with_mean
    rows = []
    for label, by_seed in found.items():
        sums = np.stack([matrices.sum(axis=0) for matrices in by_seed.values()])
        shares, values = row_shares(sums)[:, MESHWORK], numbers(sums)
        difference = paired_differences(by_seed, found[reference], numbers)[MESHWORK]
        told = "–" if label == reference else difference_text(difference)
        taken = [spread(shares[:, RING]), spread(shares[:, PATTERNLESS])]
        rows.append([label, spread(values[:, MESHWORK]), told, *taken, spread(values[:, -1])])
    heads = ["deformed in training", "meshwork found", "difference", "taken for ring", "for patternless"]
    caption = (
        f"{MOSAICS} phantom patients, {DEFORMED:.0%} of their meshwork deformed; mean ± sd over seeds; differences to "
        f"`{reference}` with 95 % intervals over patients and seeds."
    )
    write_text(out, f"{caption}\n\n{table([*heads, 'mean of classes'], rows)}\n")


if __name__ == "__main__":
    run(main)
