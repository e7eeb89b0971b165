"""The page of one run: what was trained, how it went, what came out."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from rcm_cascade import __version__
from rcm_cascade.annotate.starter import STARTER
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.splits import describe_split
from rcm_cascade.models.checkpoint import read_header
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.report.evaluation import Section, write_run_report
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.score import comparison_path
from rcm_cascade.training.history import read_history


def write_run_page(folder: RunFolder, result: Mapping[str, Any]) -> Path:
    """Writes, or renews, a run's report.html.

    Args:
        folder: of the run.
        result: what its result.json says, or will.
    """
    header = read_header(folder.best)
    config: dict[str, Any] = yaml.safe_load(folder.config.read_text())
    picture = Image.open(folder.batch) if folder.batch.is_file() else None
    sections = [
        read_section(folder.path / name, title, header.classes)
        for name, title in (("evaluation", "Evaluation on the test split"), ("validation", "Validation mosaics"))
        if (folder.path / name / "metrics.json").is_file()
    ]
    working = header.working_pixel_size_um
    facts = {
        "data": header.dataset,
        "mosaics": describe_split(header.split),
        "working pixel size": f"{working:g} µm" if working else "each mosaic's own",
        "epochs, steps": f"{result['epochs']}, {result['steps']}",
        "training time": f"{result['seconds'] / 60:.1f} min",
        "seed": str(config["seed"]),
        **({"training began with": _initial(str(config["init"]), header.init)} if header.init else {}),
        "configuration": result["hash"],
        "rcm-cascade": __version__,
        "torch": str(torch.__version__),
    }
    levels = [vars(level) for level in summarise_network(header.model)]
    return write_run_report(
        folder.path,
        title=f"Run {folder.path.name}",
        facts=facts,
        architecture=levels,
        history=read_history(folder.metrics),
        batch_picture=picture,
        sections=sections,
        synthetic=header.synthetic,
    )


def _initial(init: str, sha256: str) -> str:
    synthetic = ", trained on synthetic mosaics" if init == STARTER else ""
    return f"init={init}{synthetic} (SHA-256 {sha256[:12]}…)"


def read_section(folder: Path, title: str, classes: ClassTable) -> Section:
    """What `rcm_cascade.runs.score.score` wrote into a folder, for the page of the run."""
    with (folder / "per_mosaic.csv").open(newline="") as file:
        mosaics = [row["mosaic"] for row in csv.DictReader(file)]
    paths = [(name, comparison_path(folder, i, name)) for i, name in enumerate(mosaics)]
    return Section(
        title=title,
        summary=json.loads((folder / "metrics.json").read_text()),
        classes=classes,
        comparisons=[(name, Image.open(path)) for name, path in paths if path.is_file()],
    )
