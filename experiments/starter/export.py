"""Exports a scored run as the package's starter model, and writes its numbers between the markers of its pages.

Usage: python experiments/starter/export.py RUN [--trained-by COMMIT]; the default is this checkout's commit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save

from experiments.script import class_table, run, short
from experiments.speed.machine import commit
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.results import is_evaluation_of
from rcm_cascade.files import write_text, written_whole
from rcm_cascade.models.checkpoint import (
    CHECKSUM,
    HEADER,
    SUFFIX,
    LoadedCheckpoint,
    checksum,
    digest,
    load_checkpoint,
    refuse_not_finite,
)
from rcm_cascade.report.text import decimal
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.score import EVALUATION

CHECKOUT: Final = Path(__file__).parents[2]
STARTER: Final = CHECKOUT / "rcm_cascade" / "annotate" / "starter" / "starter.safetensors"
PAGES: Final = (STARTER.with_name("README.md"), Path(__file__).with_name("README.md"))
BEGIN: Final = "<!-- numbers: written by experiments/starter/export.py -->"
END: Final = "<!-- end of numbers -->"
BYTES: Final = 8_000_000
"""The most that the wheel should carry."""


def main(finished: Path, trained_by: str = "") -> None:
    folder = RunFolder(finished)
    if not folder.result.is_file() or not is_evaluation_of(finished / EVALUATION, folder.best):
        raise InputError(f"{finished} is not finished and scored; run experiments/starter/train.sh, which does both")
    trained_by = trained_by or commit()
    export_checkpoint(folder.best, STARTER, trained_by)
    if STARTER.stat().st_size > BYTES:
        raise InputError(f"{STARTER} has {STARTER.stat().st_size} bytes, more than {BYTES}; train fewer filters")
    metrics = json.loads((finished / EVALUATION / "metrics.json").read_text("utf-8"))
    told = tell(load_checkpoint(STARTER), metrics, folder.read_result(), trained_by)
    for page in PAGES:
        write_text(page, between_markers(page.read_text("utf-8"), told))
    print(told)


def export_checkpoint(checkpoint: Path, out: Path, commit: str = "", dtype: torch.dtype = torch.float32) -> None:
    """Writes a checkpoint's weights, as validated (averaged where `optim.ema` is on), and its header.

    Args:
        checkpoint: a .ckpt file.
        out: a .safetensors file; replaced whole or not at all.
        commit: of the code that trained it; empty: not known.
        dtype: of the weights in the file, bfloat16 for half its size; a network that reads it is in float32 anyway.

    Raises:
        InputError: if the checkpoint cannot be used, or ``out`` is of another name.
    """
    if out.suffix.lower() != SUFFIX:
        raise InputError(f"{out} would not be recognised as an export; choose a name that ends in {SUFFIX}")
    loaded = load_checkpoint(checkpoint)
    origin = {"commit": commit, "checkpoint_sha256": digest(loaded.path)}
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in loaded.network.state_dict().items()}
    write_safetensors(out, loaded.header.to_plain(), weights, origin)


def write_safetensors(
    path: Path, header: Mapping[str, Any], weights: Mapping[str, torch.Tensor], origin: Mapping[str, Any]
) -> None:
    """Writes a file, whole or not at all. The same content makes the same bytes.

    Args:
        path: of the file.
        header: as a checkpoint has it under ``rcm_cascade``; plain types.
        weights: by their names in the network.
        origin: where they came from: ``commit`` and ``checkpoint_sha256``, where known.
    """
    refuse_not_finite(weights, path, "written")  # a narrower type has fewer numbers
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    told: dict[str, Any] = {"header": header, "origin": origin}
    told = {**told, CHECKSUM: checksum(told, save(tensors))}
    with written_whole(path) as temporary:
        # One key: the order of several is not ours. By save_file nobody else might read the file.
        temporary.write_bytes(save(tensors, metadata={HEADER: json.dumps(told, ensure_ascii=False, allow_nan=False)}))


def read_origin(path: Path) -> dict[str, str]:
    """Where an export came from, as `write_safetensors` was told."""
    with safe_open(path, framework="pt") as file:
        origin: dict[str, str] = json.loads(file.metadata()[HEADER])["origin"]
    return origin


def tell(starter: LoadedCheckpoint, metrics: Mapping[str, Any], result: Mapping[str, Any], trained_by: str) -> str:
    """The table of a card, in Markdown.

    Args:
        starter: the exported model.
        metrics: the content of metrics.json, of its test split.
        result: the content of result.json.
        trained_by: the commit of the code.
    """
    header = starter.header
    counts = [sum(part == name for part in header.split.values()) for name in ("train", "val", "test")]
    weights = sum(p.numel() for p in starter.network.parameters())
    plain, scaled = (short(decimal(metrics["calibration"][key])) for key in ("ece", "ece_at_temperature"))
    told = (
        f"{metrics['mosaics']} held-out phantoms of {metrics['patients']} phantom patients; {counts[0]} were trained "
        f"on, {counts[1]} validated on. {result['steps']} steps, {result['seconds'] / 60:.0f} min; {weights:,} "
        f"weights; calibration error {plain} as trained, {scaled} at the "
        f"stored temperature {header.temperature:.2f}. rcm_cascade {header.version}, commit {trained_by}; data set "
        f"{header.dataset_id}, split {result['split_id']}; {starter.path.stat().st_size / 1e6:.1f} MB, SHA-256 "
        f"{digest(starter.path)}."
    )
    return f"{class_table(metrics, header.classes)}\n\n{told}"


def between_markers(page: str, table: str) -> str:
    """A page with its numbers replaced.

    Raises:
        InputError: if its markers are not there once each.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise InputError(f"the page needs one line {BEGIN!r} and one {END!r}; restore it from git")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    run(main)
