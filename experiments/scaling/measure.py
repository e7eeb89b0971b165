"""One process against two on this machine, a thread each, by the installed command. Patches a second, medians.

Usage: python experiments/scaling/measure.py OUT [--rounds 3] [OVERRIDE …]. Writes OUT/measured.md.
Leave the machine alone meanwhile.
"""

import argparse
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

from experiments.speed.machine import describe_machine
from rcm_cascade.files import written_whole
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
    run = folder / "runs" / "scaling"
    batch = yaml.safe_load((run / "config.yaml").read_text())["data"]["batch_size"]
    rows = [row for row in read_history(run / "metrics.csv") if "time/epoch_s" in row]
    seconds = [row["time/epoch_s"] - row["time/validation_s"] for row in rows[1:]]
    shutil.rmtree(run)
    return [BATCHES * batch / s for s in seconds]


def main(out: Path, rounds: int, overrides: Sequence[str]) -> None:
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, (processes, threads) in WAYS.items():
                found[name] += patches_per_second(processes, threads, overrides, Path(folder))
                print(f"round {number + 1}: {name}: {median(found[name]):.1f} patches/s", file=sys.stderr)
    machine = describe_machine(torch.device("cpu"))
    first = median(found["one process, one thread"])
    lines = [
        f"Measured: {machine['device']}, {os.cpu_count()} cores ({machine['arithmetic']}), torch {machine['torch']}, "
        f"commit {machine['commit']}; gloo; {rounds} interleaved rounds of {EPOCHS - 1} epochs, medians. "
        f"The default scale, 8 filters and batches of 16 × 64 × 64 px{''.join(f', but {o}' for o in overrides)}; "
        "loading, augmentation and logging included.",
        "",
        "| | patches/s | as fast as one |",
        "|---|---:|---:|",
        *(f"| {name} | {median(values):.1f} | {median(values) / first:.2f} |" for name, values in found.items()),
    ]
    with written_whole(out / "measured.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    main(options.out, options.rounds, options.overrides)
