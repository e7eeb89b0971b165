"""How fast is annotation? File to files, against the bare network and MONAI's sliding window, interleaved in one run.

Needs the extra [bench]. Writes annotation.md and annotation.json into --out. Take a trained network: random weights
make noise maps, on which precision cannot be judged. Usage: python -m experiments.speed.annotation --checkpoint C
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer

from experiments.script import run, table
from experiments.speed.contenders import OVERLAPS, Annotating, Growth, contenders, grow, recomputation
from experiments.speed.machine import Timed, describe_machine, floor_s_per_mp, take_turns
from experiments.speed.mosaics import PHANTOM_PX, enlarged, phantom_mosaic, write_mosaic
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, has_bf16
from rcm_cascade.files import refuse_unwritable, write_json, write_text

LEAST_PX: Final = 64
"""Side of the smallest mosaic that is measured."""

SERIES: Final = {
    "cpu": ((2000, 2000), (4000, 4000), (4096, 6000), (8000, 8000), (12000, 12000)),
    "cuda": ((4096, 6000), (12000, 12000)),
}
"""Shapes of 4, 16, 24.6, 64 and 144 MP, by device: minutes on a GPU are lent."""


def main(
    checkpoint: Annotated[Path, typer.Option(metavar="C", help="Of a trained network.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write into.")] = Path("benchmark"),
    size: Annotated[
        tuple[int, int], typer.Option(metavar="H W", min=LEAST_PX, help="In px; the phantom is cut or mirrored to it.")
    ] = (4096, 6000),
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Medians of so many.")] = 3,
    series: Annotated[bool, typer.Option(help="Whether mosaics of 4 to 144 MP are measured, too.")] = True,
) -> None:
    refuse_unwritable(out)
    annotator = Annotator.load(checkpoint)
    device = next(annotator.network.parameters()).device
    chosen = annotator.prepare(AnnotationOptions(precision="fp32"))
    precisions = ["fp32"]
    if has_bf16(device):
        precisions.append("bf16")
    if chosen.name == "openvino":
        from rcm_cascade.annotate.cpu.int8 import read_report  # needs OpenVINO

        if read_report(checkpoint) is not None:
            precisions.append("int8")
    pixel_size_um = annotator.header.working_pixel_size_um or 1.0
    phantom = phantom_mosaic(pixel_size_um)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosaic.tif"
        mosaic = enlarged(phantom, size)
        write_mosaic(file, mosaic, pixel_size_um)
        ways = contenders(annotator, mosaic, file, precisions, chosen.name)
        runs = [Timed(name, way) for name, way in ways.items()]
        take_turns(runs, rounds)
    medians = {timed.name: timed.median for timed in runs}
    floor = floor_s_per_mp(annotator.network.arguments, device, torch.float32)
    found: dict[str, Any] = {
        "machine": describe_machine(device),
        "checkpoint": {"name": str(checkpoint), "network": annotator.header.model.to_plain()},
        "backend": chosen.name,
        "mosaic": {"shape": list(size), "source": f"a phantom of {PHANTOM_PX} px, mirrored to the size"},
        "rounds": rounds,
        "runs": {timed.name: {"s_per_mp": timed.median, "seconds": timed.seconds} for timed in runs},
        "ratios": _ratios(medians, precisions),
        "agreement": _agreement(ways, precisions),
        "recomputation": recomputation(chosen, size),
        "floor": dict(zip(("s_per_mp", "operations_per_s"), floor, strict=True)),
        "growth": [],
    }
    _write(out, found)  # before what takes longest
    if series:
        best = min((p for p in precisions if p != "int8"), key=lambda p: medians[f"ours, {p}"])
        options = AnnotationOptions(precision=best, backend=chosen.name)
        growth = [asdict(g) for g in grow(checkpoint, phantom, pixel_size_um, SERIES[device.type], options)]
        _write(out, found | {"growth": growth, "growth_precision": best})
    print((out / "annotation.md").read_text("utf-8"), end="")


def _write(out: Path, found: Mapping[str, Any]) -> None:
    write_json(out / "annotation.json", found)
    write_text(out / "annotation.md", to_markdown(found))


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


def _agreement(ways: Mapping[str, Annotating], precisions: Sequence[str]) -> dict[str, float]:
    """Share of pixels with the label that ours gives them in float32."""
    exact = ways["ours, fp32"].labels
    others = [f"ours, {p}" for p in precisions[1:]] + [name for name in ways if name.startswith("MONAI")]
    return {name: float((exact == ways[name].labels).mean()) for name in others}


def to_markdown(found: Mapping[str, Any]) -> str:
    """The tables of a benchmark's record."""
    machine, mosaic, floor = found["machine"], found["mosaic"], found["floor"]
    height, width = mosaic["shape"]
    speeds = {name: way["s_per_mp"] for name, way in found["runs"].items()}
    parts = [
        f"{machine['device']}, {machine['threads']} threads ({machine['arithmetic']}); torch {machine['torch']}, "
        f"backend {found['backend']}; commit {machine['commit']}. {height} × {width} px ({mosaic['source']}), "
        f"{found['checkpoint']['network']['base_filters']} filters; medians of {found['rounds']} interleaved rounds.",
        table(["run", "s/MP", "MP/s"], [[name, f"{s:.3f}", f"{1 / s:.2f}"] for name, s in speeds.items()]),
        table(["ratio (of speeds)", ""], [[name, f"{value:.2f}"] for name, value in found["ratios"].items()]),
        table(["labels as ours in fp32", ""], [[name, f"{share:.4%}"] for name, share in found["agreement"].items()]),
        f"Recomputation, weighted by operations: {found['recomputation'] - 1:.1%}. Floor, all operations at the speed "
        f"of a large matrix product ({floor['operations_per_s'] / 1e9:.0f} GFLOP/s in float32): "
        f"{floor['s_per_mp']:.2f} s/MP.",
    ]
    if found["growth"]:
        rows = [_growth_row(Growth(**g)) for g in found["growth"]]
        parts.append(f"Growth ({found['growth_precision']}), each in a process of its own, file to files:")
        parts.append(table(["MP", "s", "s/MP", "reading", "network", "writing", "peak memory"], rows, words=0))
    return "\n\n".join(parts) + "\n"


def _growth_row(g: Growth) -> list[str]:
    each = g.seconds / g.megapixels
    peak = f"{g.peak_bytes / 1e9:.2f} GB"
    shares = [f"{share:.1%}" for share in (g.read_share, g.network_share, g.write_share)]
    return [f"{g.megapixels:.1f}", f"{g.seconds:.1f}", f"{each:.3f}", *shares, peak]


if __name__ == "__main__":
    run(main)
