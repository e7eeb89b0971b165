"""The tables of experiments/paper, from the finished runs; and what a machine hands back.

Usage: python experiments/paper/table.py SCALE OUT. Reads runs/paper-SCALE-*; writes OUT/SCALE.md, the scores of each
run as OUT/SCALE-RUN.json, and the weights of the long run in bfloat16 as OUT/paper-SCALE.safetensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from experiments.script import class_table, difference_text, run, table
from experiments.speed.machine import commit, describe_machine
from experiments.starter.export import export_checkpoint
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.evaluate.bootstrap import paired_differences, pool_by_patient
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.files import write_text
from rcm_cascade.report.text import SYNTHETIC_NOTE
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import read_config
from rcm_cascade.runs.score import EVALUATION

RUNS: Final = {
    "long": "cascade, as above",
    "cascade": "cascade",
    "unet": "U-Net of equal parameters",
    "ensemble": "ensemble of the three levels",
}
TARGETS: Final = {"mean sensitivity": 0.80, "mean specificity": 0.945, "sensitivity of meshwork": 0.60}


def main(scale: str, out: Path) -> None:
    folders = {name: RunFolder(Path("runs") / f"paper-{scale}-{name}") for name in RUNS}
    for name, folder in folders.items():
        scores = (folder.path / EVALUATION / "metrics.json").read_text("utf-8")
        write_text(out / f"{scale}-{name}.json", scores)
    write_text(out / f"{scale}.md", _page(scale, folders))
    export_checkpoint(folders["long"].best, out / f"paper-{scale}.safetensors", commit(), torch.bfloat16)


def _page(scale: str, folders: Mapping[str, RunFolder]) -> str:
    machine = describe_machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    config = read_config(folders["long"].config)
    metrics = {name: json.loads((f.path / EVALUATION / "metrics.json").read_text()) for name, f in folders.items()}
    phantom, long = config.data.phantom, metrics["long"]
    height, width = phantom.size_mm
    reached = long["mean"]["sensitivity"], long["mean"]["specificity"], _meshwork(long)
    targets = [
        [name, f"≥ {wanted:.3f}", f"{value:.3f}" if value >= wanted else f"**{value:.3f}** (missed)"]
        for (name, wanted), value in zip(TARGETS.items(), reached, strict=True)
    ]
    designs = []
    for name, shown in RUNS.items():
        means, result = metrics[name]["mean"], folders[name].read_result()
        cells = [f"{result['seconds']:.0f} s", f"{result['steps']:,}", f"{result['parameters']:,}"]
        for metric in ("sensitivity", "specificity"):
            alone = name in ("long", "cascade")
            cells += [f"{means[metric]:.3f}", "–" if alone else _difference(folders[name], folders["cascade"], metric)]
        designs.append([shown, *cells, f"{_meshwork(metrics[name]):.2f}"])
    heads = ["design", "training", "steps", "parameters", "mean sensitivity", "Δ", "mean specificity", "Δ", "meshwork"]
    parts = [
        f"`experiments/paper/run.sh {scale}`; table written by commit {machine['commit']} on {machine['device']}, "
        f"{machine['threads']} thread(s), torch {machine['torch']}. {SYNTHETIC_NOTE}",
        f"{phantom.mosaics} phantoms of {height:g} × {width:g} mm at {phantom.pixel_size_um:g} µm, one a "
        f"patient; {long['patients']} of them tested on, whole. {config.model.base_filters} filters.",
        class_table(long, RCM_CLASSES, paper=True),
        table(["target", "wanted", "reached"], targets),
        "Equal time; Δ is the design less the cascade of the same time, with 95 % intervals over patients (one seed):",
        table(heads, designs),
    ]
    return "\n\n".join(parts) + "\n"


def _meshwork(metrics: Mapping[str, Any]) -> float:
    return next(float(c["sensitivity"]) for c in metrics["classes"] if c["name"] == "meshwork")


def _difference(folder: RunFolder, reference: RunFolder, metric: str) -> str:
    ours, theirs = (
        {0: pool_by_patient([m.confusion for m in mosaics], [m.patient for m in mosaics])}
        for mosaics in (read_results(f.path / EVALUATION / "confusions.json")[1] for f in (folder, reference))
    )
    return difference_text(paired_differences(ours, theirs, METRICS[metric].with_mean)[-1])


if __name__ == "__main__":
    run(main)
