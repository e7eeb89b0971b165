"""One process against two on this machine, a thread each, by the installed command. Patches a second, medians.

Usage: python experiments/scaling/measure.py OUT [--rounds 3] [OVERRIDE …]. Writes OUT/measured.md.
Leave the machine alone meanwhile.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import torch
import yaml

from experiments.script import run, table
from experiments.speed.machine import describe_machine
from rcm_cascade.files import write_text
from rcm_cascade.training.history import read_history

WAYS: Final = {
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two processes, a thread each": (2, 1),
}
EPOCHS: Final = 4
BATCHES: Final = 24
"""An epoch of one process; two share them out."""


def patches_per_second(processes: int, threads: int, overrides: Sequence[str], folder: Path) -> list[float]:
    """Of each epoch but the first, which warms up; loading, augmentation and logging included."""
    command = [
        "rcm-cascade", "train", "run=scaling", f"trainer.devices={processes}", "trainer.accelerator=cpu",
        f"trainer.max_epochs={EPOCHS}", f"trainer.steps_per_epoch={BATCHES // processes}",
        "trainer.validation_regions=6", "trainer.validation_mosaics=1",
        f"data.root={Path('phantoms/scaling').resolve()}", *overrides,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    finished = folder / "runs" / "scaling"
    batch = yaml.safe_load((finished / "config.yaml").read_text())["data"]["batch_size"]
    rows = [row for row in read_history(finished / "metrics.csv") if "time/epoch_s" in row]
    seconds = [row["time/epoch_s"] - row["time/validation_s"] for row in rows[1:]]
    shutil.rmtree(finished)
    return [BATCHES * batch / s for s in seconds]


def main(out: Path, overrides: list[str] | None = None, rounds: int = 3) -> None:
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, (processes, threads) in WAYS.items():
                found[name] += patches_per_second(processes, threads, overrides or [], Path(folder))
                print(f"round {number + 1}: {name}: {median(found[name]):.1f} patches/s", file=sys.stderr)
    machine = describe_machine(torch.device("cpu"))
    first = median(found["one process, one thread"])
    caption = (
        f"Measured: {machine['device']}, {os.cpu_count()} cores ({machine['arithmetic']}), torch {machine['torch']}, "
        f"commit {machine['commit']}; gloo; {rounds} interleaved rounds of {EPOCHS - 1} epochs, medians. "
        f"The default scale, 8 filters and batches of 16 × 64 × 64 px{''.join(f', but {o}' for o in overrides or [])}; "
        "loading, augmentation and logging included."
    )
    rows = [[name, f"{median(values):.1f}", f"{median(values) / first:.2f}"] for name, values in found.items()]
    write_text(out / "measured.md", f"{caption}\n\n{table(['', 'patches/s', 'as fast as one'], rows)}\n")


if __name__ == "__main__":
    run(main)
