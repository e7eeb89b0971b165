"""`rcm-cascade benchmark annotate`: its speed as ratios against named peers, in one run."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import has_bf16
from rcm_cascade.benchmark.annotation import (
    OVERLAPS,
    Contender,
    Growth,
    contenders,
    floor_s_per_mp,
    grow,
    interleave,
    recomputation,
)
from rcm_cascade.benchmark.machine import describe_machine
from rcm_cascade.benchmark.mosaics import PHANTOM_PX, enlarged, phantom_mosaic, write_mosaic
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.intensity import to_uint8
from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable, written_whole

LEAST_PX: Final = 64
"""Side of the smallest mosaic that is measured."""

SERIES: Final = ((2000, 2000), (4000, 4000), (4096, 6000), (8000, 8000), (12000, 12000))
"""Shapes of 4, 16, 24.6, 64 and 144 MP."""


def benchmark_annotation(
    checkpoint: Path,
    out: Path,
    *,
    image: Path | None = None,
    shape: tuple[int, int] = (4096, 6000),
    rounds: int = 3,
    backend: str = "auto",
    series: bool = True,
) -> str:
    """Measures annotation, file to files, against the bare network and MONAI's sliding window.

    Args:
        checkpoint: of a trained network: random weights make noise maps, on which precision cannot be judged.
        out: folder for annotation.json and annotation.md.
        image: a mosaic at the network's working pixel size; None: a phantom. Cut, or mirrored, to the shape.
        shape: in px.
        rounds: how often everything is run in turn; the table shows medians.
        backend: ``auto``, ``torch`` or ``openvino``.
        series: whether to measure the growth with the mosaic, too.

    Returns:
        The table, as Markdown.

    Raises:
        InputError: if MONAI is missing, or checkpoint or mosaic is wrong.
    """
    if find_spec("monai") is None:
        raise InputError("the benchmark needs MONAI, which is not installed: pip install 'rcm-cascade[bench]'")
    if rounds < 1 or min(shape) < LEAST_PX:
        raise InputError(
            f"{rounds} rounds of {shape[0]} × {shape[1]} px; expected 1 round or more, and {LEAST_PX} px or more a side"
        )
    refuse_unwritable(out)
    annotator = Annotator.load(checkpoint)
    device = next(annotator.network.parameters()).device
    chosen = annotator.prepare("fp32", backend)
    precisions = ["fp32"]
    if has_bf16(device):
        precisions.append("bf16")
    if chosen.name == "openvino" and _is_quantised(annotator):
        precisions.append("int8")
    grey, source = _mosaic(annotator, image)
    pixel_size_um = annotator.header.working_pixel_size_um or 1.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosaic.tif"
        mosaic = enlarged(grey, shape)
        write_mosaic(file, mosaic, pixel_size_um)
        runs = contenders(annotator, mosaic, file, precisions, chosen.name)
        interleave(runs, rounds, device)
    found: dict[str, Any] = {
        "machine": describe_machine(device),
        "checkpoint": {"name": str(checkpoint), "network": annotator.header.model.to_plain()},
        "backend": chosen.name,
        "mosaic": {"shape": list(shape), "source": source},
        "rounds": rounds,
        "runs": {c.name: {"s_per_mp": c.per_megapixel, "seconds": c.seconds} for c in runs},
        "ratios": _ratios({c.name: c.per_megapixel for c in runs}, precisions),
        "agreement": _agreement(runs, precisions),
        "recomputation": recomputation(chosen, shape),
        "floor": dict(zip(("s_per_mp", "operations_per_s"), floor_s_per_mp(annotator, torch.float32), strict=True)),
        "growth": [],
    }
    _write(out, found)  # before what takes longest
    if series:
        best = min(precisions, key=lambda p: found["runs"][f"ours, {p}"]["s_per_mp"] if p != "int8" else np.inf)
        options = {"precision": best, "backend": chosen.name}
        found["growth"] = [asdict(g) for g in grow(checkpoint, grey, pixel_size_um, SERIES, options)]
        found["growth_precision"] = best
        _write(out, found)
    return to_markdown(found)


def _write(out: Path, found: Mapping[str, Any]) -> None:
    with written_whole(out / "annotation.json") as path:
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    with written_whole(out / "annotation.md") as path:
        path.write_text(to_markdown(found), "utf-8")


def _is_quantised(annotator: Annotator) -> bool:
    from rcm_cascade.annotate.cpu.int8 import read_report

    return annotator.int8 is not None and read_report(annotator.int8, annotator.checkpoint_sha256) is not None


def _mosaic(annotator: Annotator, image: Path | None) -> tuple[NDArray[np.uint8], str]:
    if image is not None:
        return to_uint8(read_image(image)), image.name
    phantom = phantom_mosaic(annotator.header.working_pixel_size_um or 1.0)
    return phantom, f"a phantom of {PHANTOM_PX} px, mirrored to the size"


def _ratios(s_per_mp: Mapping[str, float], precisions: Sequence[str]) -> dict[str, float]:
    """How many times as fast ours is."""
    found = {}
    default = s_per_mp["MONAI as it comes, torch fp32"]
    for precision in precisions:
        ours = s_per_mp[f"ours, {precision}"]
        if precision != "int8":
            bare = min(value for name, value in s_per_mp.items() if name.startswith("bare") and precision in name)
            found[f"ours / bare, {precision}"] = bare / ours
            for overlap in OVERLAPS:
                name = f"MONAI {overlap:g}, {precision}"
                found[f"ours / {name}"] = s_per_mp[name] / ours
        found[f"ours, {precision} / MONAI as it comes"] = default / ours
    return found


def _agreement(runs: Sequence[Contender], precisions: Sequence[str]) -> dict[str, float]:
    """Share of pixels with the label that ours gives them in float32."""
    labels = {c.name: c.labels for c in runs}
    exact = labels["ours, fp32"]
    assert exact is not None
    others = [f"ours, {p}" for p in precisions[1:]] + [n for n in labels if n.startswith("MONAI")]
    return {name: float((exact == labels[name]).mean()) for name in others}


def to_markdown(found: Mapping[str, Any]) -> str:
    """The tables of a benchmark's record."""
    machine, mosaic = found["machine"], found["mosaic"]
    height, width = mosaic["shape"]
    lines = [
        f"{machine['device']}, {machine['threads']} threads ({machine['arithmetic']}); torch {machine['torch']}, "
        f"backend {found['backend']}; commit {machine['commit']}. {height} × {width} px ({mosaic['source']}), "
        f"{found['checkpoint']['network']['base_filters']} filters; medians of {found['rounds']} interleaved rounds.",
        "",
        "| run | s/MP | MP/s |",
        "|---|---:|---:|",
        *(f"| {name} | {run['s_per_mp']:.3f} | {1 / run['s_per_mp']:.2f} |" for name, run in found["runs"].items()),
        "",
        "| ratio (of speeds) | |",
        "|---|---:|",
        *(f"| {name} | {value:.2f} |" for name, value in found["ratios"].items()),
        "",
        "| labels as ours in fp32 | |",
        "|---|---:|",
        *(f"| {name} | {share:.4%} |" for name, share in found["agreement"].items()),
        "",
        f"Recomputation, weighted by operations: {found['recomputation'] - 1:.1%}. Floor, all operations at the speed "
        f"of a large matrix product ({found['floor']['operations_per_s'] / 1e9:.0f} GFLOP/s in float32): "
        f"{found['floor']['s_per_mp']:.2f} s/MP.",
    ]
    if found["growth"]:
        lines += [
            "",
            f"Growth ({found['growth_precision']}), each in a process of its own, file to files:",
            "",
            "| MP | s | s/MP | writing | peak memory |",
            "|---:|---:|---:|---:|---:|",
            *(_growth_line(Growth(**g)) for g in found["growth"]),
        ]
    return "\n".join(lines) + "\n"


def _growth_line(g: Growth) -> str:
    return (
        f"| {g.megapixels:.1f} | {g.seconds:.1f} | {g.seconds / g.megapixels:.3f} | {g.write_share:.1%} | "
        f"{g.peak_bytes / 1e9:.2f} GB |"
    )
