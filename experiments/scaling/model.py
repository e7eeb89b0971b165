"""How training would scale to 8 GPUs and to 8 nodes of 8: COMPUTED from step time, gradient bytes and bandwidth.

Usage: python experiments/scaling/model.py OUT [--step-ms 20]. Writes OUT/computed.md. Nothing of it is measured.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from experiments.script import run, table
from rcm_cascade.files import write_text
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.summary import summarise_network

FORWARD_BACKWARD: Final = 3
"""A training step costs three forward passes: one forward, and two products a convolution backward."""
BATCH: Final = 16
SIDE: Final = 512
"""Patches a step of each process, and their side in px."""
FLOATS: Final = 4


@dataclass(frozen=True)
class Link:
    """What joins processes.

    Args:
        name: as the table shows it.
        processes: how many.
        bandwidth: bytes a second that the slowest link of a ring carries, in each direction.
        latency: seconds of one small collective among so many.
    """

    name: str
    processes: int
    bandwidth: float
    latency: float


LINKS: Final = (
    Link("8 GPUs of one machine (NVLink, 300 GB/s)", 8, 300e9, 30e-6),
    Link("8 machines of 8 GPUs (InfiniBand, 50 GB/s a GPU)", 64, 50e9, 80e-6),
    Link("8 machines of 8 GPUs (Ethernet, 25 Gbit/s a machine)", 64, 25e9 / 8, 200e-6),
)


def all_reduce_s(size: int, link: Link) -> float:
    """Seconds to sum ``size`` bytes in a ring: each byte passes every link twice, less its own share."""
    return 2 * (link.processes - 1) / link.processes * size / link.bandwidth + link.latency


def main(out: Path, step_ms: float = 20.0) -> None:
    network = CascadedUNet()
    parameters = sum(p.numel() for p in network.parameters())
    norms = sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    per_mp = sum(level.gflop_per_mp for level in summarise_network(network.arguments))
    gflop = FORWARD_BACKWARD * per_mp * BATCH * SIDE**2 / 1e6
    # A batch norm's sums go round forward and backward; the loss has two sums a level, forward and backward.
    small = 2 * norms + 4 * len(network.levels)
    caption = (
        "**Computed, not measured.** The paper's form: "
        f"{parameters:,} parameters, so {parameters * FLOATS / 1e6:.1f} MB of gradients a step in float32; {norms} "
        f"batch norms; {gflop / 1e3:.1f} TFLOP for {BATCH} patches of {SIDE} px. Assumed: {step_ms:g} ms a step of one "
        f"GPU ({gflop / step_ms:.0f} TFLOP/s); gradients in a ring; {small} small sums a step of batch norms and loss, "
        "each one latency, none hidden. Best: gradients go while the backward pass computes; worst: after it."
    )
    heads = ["", "gradients", "small sums", "step: best", "worst", "patches/s: best", "worst", "efficiency"]
    rows = [["one GPU", "–", "–", *[f"{step_ms:.1f} ms"] * 2, *[f"{BATCH / step_ms * 1e3:,.0f}"] * 2, "100%"]]
    for link in LINKS:
        gradients, sums = all_reduce_s(parameters * FLOATS, link) * 1e3, small * link.latency * 1e3
        # The backward pass is two thirds of a step: so much can hide behind it.
        times = step_ms + sums + max(0.0, gradients - step_ms * 2 / 3), step_ms + sums + gradients
        rates = [f"{BATCH * link.processes / step * 1e3:,.0f}" for step in times]
        best, worst = (f"{step_ms / step:.0%}" for step in times)
        steps = [f"{step:.1f} ms" for step in times]
        rows.append([link.name, f"{gradients:.2f} ms", f"{sums:.1f} ms", *steps, *rates, f"{worst}–{best}"])
    write_text(out / "computed.md", f"{caption}\n\n{table(heads, rows)}\n")


if __name__ == "__main__":
    run(main)
