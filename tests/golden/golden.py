"""Records a small run from data to report, and compares two recordings: does a change of the code change a number?

    python tests/golden/golden.py record FOLDER    60 steps, evaluation, annotation, a sweep of four jobs, its report
    python tests/golden/golden.py compare OLD NEW  exits with 1 where they differ by more than --tolerance

Floating-point results depend on the processor, so both recordings have to come from one machine. Not a test of
the suite: it is for changes of the code's structure.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

PHANTOMS = [
    "data.phantom.mosaics=8",
    "data.phantom.size_mm=[2.4,2.4]",
    "data.phantom.pixel_size_um=8",
    "data.phantom.seed=3",
]
COMMON = [*PHANTOMS, "data.batch_size=4", "model.base_filters=4", "trainer.precision=fp32", "optim.ema=0.9"]
TIMES = re.compile(r"time|second|_s$|_s_sd$|wall")


def record(folder: Path) -> None:
    """Runs the commands in a folder of its own."""
    folder.mkdir(parents=True)
    run(folder, "train", "run=golden", *COMMON, "trainer.max_steps=60")
    run(folder, "evaluate", "runs/golden/checkpoints/best.ckpt", "--data", data(folder), "--out", "scores")
    held_out = next(row["mosaic"] for row in rows(folder / "runs/golden/split.csv") if row["split"] == "test")
    annotate = ["annotate", f"{data(folder)}/{held_out}", "--checkpoint", "runs/golden/checkpoints/best.ckpt"]
    run(folder, *annotate, "--out", "annotated")
    run(folder, *annotate, "--out", "torch", "--backend", "torch")
    several = ["model=cascade,ensemble", "seed=0,1"]
    run(folder, "train", "--multirun", "run=sweep", *COMMON, "trainer.max_steps=6", *several)
    run(folder, "report", "runs/sweep", "--score", "0.1")


def run(folder: Path, *arguments: str) -> None:
    """Runs a command of rcm-cascade there."""
    print(*arguments, file=sys.stderr)
    code = "import sys; from rcm_cascade.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, check=True)


def data(folder: Path) -> str:
    """The folder of the phantoms, relative to the recording's."""
    return str(next(folder.glob("phantoms/*/manifest.csv")).parent.relative_to(folder))


def rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every number of a recording, by name: weights, metrics, labels, tables."""
    for name in (
        "runs/golden",
        *(f"runs/sweep/{p.name}" for p in sorted((folder / "runs/sweep").iterdir()) if p.is_dir()),
    ):
        state = torch.load(folder / name / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        for key, tensor in state.items():
            yield f"{name}: {key}", tensor.double().numpy()
        for i, row in enumerate(rows(folder / name / "metrics.csv")):
            yield from ((f"{name}/metrics.csv {i} {k}", float(v)) for k, v in row.items() if v and not TIMES.search(k))
    for path in ("scores", "runs/golden/validation"):
        yield from flat(json.loads((folder / path / "metrics.json").read_text()), path)
    for out in ("annotated", "torch"):
        labels = next((folder / out).glob("*.labels.ome.tif"))
        yield f"{out}: labels", tifffile.imread(labels).astype(np.float64)
        summary = json.loads(next(p for p in (folder / out).glob("*.json")).read_text())
        yield from flat({key: summary[key] for key in ("classes", "regions")}, out)
    for row in rows(folder / "runs/sweep/results.csv"):
        for key, value in row.items():
            if re.fullmatch(r"-?[\d.]+(e-?\d+)?", value or "") and not TIMES.search(key):
                yield f"results.csv {row['configuration']} {row['class']} {key}", float(value)


def flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The numbers in JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not TIMES.search(key):
                yield from flat(inner, f"{name} {key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flat(inner, f"{name} {i}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def pages(folder: Path) -> dict[str, list[str]]:
    """The numbers that readers see, page by page, sorted."""
    found = {}
    for page in ("scores/report.html", "runs/sweep/report.html"):
        text = re.sub(r"<style.*?</style>|<[^>]*>", " ", (folder / page).read_text(), flags=re.S)
        found[page] = sorted(re.findall(r"[−-]?\d+\.\d+", text))
    return found


def distance(old: Any, new: Any) -> float:
    """The largest difference; infinite between arrays of different shapes."""
    return float(np.abs(old - new).max()) if np.shape(old) == np.shape(new) else float("inf")


def compare(old: Path, new: Path, tolerance: float) -> int:
    """Prints what differs; returns 1 where something does."""
    a, b = dict(numbers(old)), dict(numbers(new))
    lost, added = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    differing = {key: worst for key in a if key in b and not (worst := distance(a[key], b[key])) <= tolerance}
    print(f"{len(a)} numbers, {len(lost)} lost, {len(added)} new, {len(differing)} differ by more than {tolerance:g}")
    for key in lost[:20]:
        print("  lost:", key)
    for key, worst in list(differing.items())[:20]:
        print(f"  differs by {worst:g}:", key)
    for page, texts in pages(old).items():
        left = list(pages(new)[page])
        gone = [text for text in texts if text not in left or left.remove(text)]  # type: ignore[func-returns-value]
        print(f"{page}: {len(texts)} numbers, {len(gone)} not on the new page {gone[:30]}")
    return 1 if lost or differing else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("folder", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--tolerance", type=float, default=0.0)
    chosen = parser.parse_args()
    if chosen.command == "record":
        record(chosen.folder)
    else:
        sys.exit(compare(chosen.old, chosen.new, chosen.tolerance))
