"""The tables of experiments/paper, from the finished runs; and what a machine hands back.

Usage: python experiments/paper/table.py SCALE OUT. Reads runs/paper-SCALE-*; writes OUT/SCALE.md, the scores of each
run as OUT/SCALE-RUN.json, and the weights of the long run in bfloat16 as OUT/paper-SCALE.safetensors.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from experiments.code_version import code_version
from experiments.speed.machine import describe_machine
from experiments.starter.export import export_checkpoint
from rcm_cascade.classes import PAPER_SENSITIVITY, PAPER_SPECIFICITY
from rcm_cascade.evaluate.bootstrap import Difference, paired_differences, pool_by_patient
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.report.text import SYNTHETIC_NOTE, interval_text, signed

RUNS: Final = {
    "long": "cascade, as above",
    "cascade": "cascade",
    "unet": "U-Net of equal parameters",
    "ensemble": "ensemble of the three levels",
}
TARGETS: Final = {"mean sensitivity": 0.80, "mean specificity": 0.945, "sensitivity of meshwork": 0.60}


def main(scale: str, out: Path) -> None:
    folders = {run: Path("runs") / f"paper-{scale}-{run}" for run in RUNS}
    metrics = {run: _json(folder / "evaluation" / "metrics.json") for run, folder in folders.items()}
    results = {run: _json(folder / "result.json") for run, folder in folders.items()}
    config = yaml.safe_load((folders["long"] / "config.yaml").read_text())
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{scale}.md").write_text(_page(scale, folders, metrics, results, config), encoding="utf-8")
    for run, folder in folders.items():
        shutil.copyfile(folder / "evaluation" / "metrics.json", out / f"{scale}-{run}.json")
    best = folders["long"] / "checkpoints" / "best.ckpt"
    export_checkpoint(best, out / f"paper-{scale}.safetensors", code_version().get("commit", ""), torch.bfloat16)


def _page(
    scale: str, folders: dict[str, Path], metrics: dict[str, Any], results: dict[str, Any], config: dict[str, Any]
) -> str:
    machine = describe_machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    phantom, long = config["data"]["phantom"], metrics["long"]
    named = [c["name"] for c in long["classes"]]
    height, width = phantom["size_mm"]
    lines = [
        f"`experiments/paper/run.sh {scale}`; table written by commit {machine['commit']} on {machine['device']}, "
        f"{machine['threads']} thread(s), torch {machine['torch']}. {SYNTHETIC_NOTE}",
        "",
        f"{phantom['mosaics']} phantoms of {height:g} × {width:g} mm at {phantom['pixel_size_um']:g} µm, one a "
        f"patient; {long['patients']} of them tested on, whole. {config['model']['base_filters']} filters.",
        "",
        "| class | sensitivity | specificity | paper: sensitivity | specificity |",
        "|---|---|---|---:|---:|",
    ]
    for c, sensitivity, specificity in zip(long["classes"], PAPER_SENSITIVITY, PAPER_SPECIFICITY, strict=True):
        lines.append(_row(c["name"], c, sensitivity, specificity))
    means = [sum(values) / len(values) for values in (PAPER_SENSITIVITY, PAPER_SPECIFICITY)]
    mean = long["mean"]
    lines.append(_row("**mean**", mean, *means))
    meshwork = long["classes"][named.index("meshwork")]["sensitivity"]
    reached = (mean["sensitivity"], mean["specificity"], meshwork)
    lines += ["", "| target | wanted | reached |", "|---|---:|---:|"]
    for (name, wanted), value in zip(TARGETS.items(), reached, strict=True):
        shown = f"{value:.3f}" if value >= wanted else f"**{value:.3f}** (missed)"
        lines.append(f"| {name} | ≥ {wanted:.3f} | {shown} |")
    lines += [
        "",
        "Equal time; Δ is the design less the cascade of the same time, with 95 % intervals over patients (one seed):",
        "",
        "| design | training | steps | parameters | mean sensitivity | Δ | mean specificity | Δ | meshwork |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run, name in RUNS.items():
        own, result = metrics[run], results[run]
        differences = ["–", "–"]
        if run not in ("long", "cascade"):
            differences = [
                _difference(folders[run], folders["cascade"], metric) for metric in ("sensitivity", "specificity")
            ]
        lines.append(
            f"| {name} | {result['seconds']:.0f} s | {result['steps']:,} | {result['parameters']:,} | "
            f"{own['mean']['sensitivity']:.3f} | {differences[0]} | {own['mean']['specificity']:.3f} | "
            f"{differences[1]} | {own['classes'][named.index('meshwork')]['sensitivity']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _difference(folder: Path, reference: Path, metric: str) -> str:
    sums = []
    for path in (folder, reference):
        mosaics = read_results(path / "evaluation" / "confusions.json")[1]
        sums.append({0: pool_by_patient([m.confusion for m in mosaics], [m.patient for m in mosaics])})
    found: Difference = paired_differences(sums[0], sums[1], METRICS[metric].with_mean)[-1]
    return f"{signed(found.value)} ({interval_text(found.interval)})"


def _row(name: str, values: dict[str, Any], sensitivity: float, specificity: float) -> str:
    ours = f"{_number(values, 'sensitivity')} | {_number(values, 'specificity')}"
    return f"| {name} | {ours} | {sensitivity:.2f} | {specificity:.2f} |"


def _number(values: dict[str, Any], name: str) -> str:
    interval = values[f"{name}_ci"]
    return f"{values[name]:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
