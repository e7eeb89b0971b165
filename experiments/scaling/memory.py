"""How much memory a training step of the paper's form takes, and what trainer.accumulate and trainer.recompute save.

Usage: python experiments/scaling/memory.py OUT. Writes OUT/memory.md. Each case runs in its own process, on the CPU, in
float32: what PyTorch keeps between forward and backward pass does not depend on the device, its working space does.
"""

from pathlib import Path
from typing import Final

import torch

from experiments.script import run, table
from experiments.speed.machine import alone, describe_machine, peak_memory
from rcm_cascade.files import write_text
from rcm_cascade.models import CascadedUNet
from rcm_cascade.training.loss import LossArguments, label_pyramid, level_loss
from rcm_cascade.training.passes import recompute_activations

SIDE: Final = 512
CASES: Final = ((1, False), (1, True), (2, False), (2, True), (4, False), (4, True))
"""Patches in a batch, and whether activations are computed again."""


def step(patches: int, recompute: bool) -> int:
    """Bytes that training adds to this process at most, optimiser included."""
    before = peak_memory()
    network = CascadedUNet()
    if recompute:
        recompute_activations(network)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    image = torch.randn(patches, 1, SIDE, SIDE)
    labels = torch.randint(0, 6, (patches, SIDE, SIDE)).to(torch.uint8)
    for _ in range(2):
        optimiser.zero_grad()
        outputs = network(image)
        targets = label_pyramid(labels, network.arguments.output_factors, 6)
        losses = [level_loss(o, t, LossArguments()) for o, t in zip(outputs, targets, strict=True)]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return peak_memory() - before


def main(out: Path) -> None:
    machine = describe_machine(torch.device("cpu"))
    rows = [[str(n), str(again).lower(), f"{alone(step, n, again) / 1e9:.2f} GB"] for n, again in CASES]
    caption = (
        f"24 filters, patches of {SIDE} px, float32, {machine['device']}, commit {machine['commit']}; process memory "
        "that a training step adds, AdamW's included. "
        "For a batch of 16, trainer.accumulate is 16 divided by the patches at a time."
    )
    heads = ["patches at a time", "trainer.recompute", "memory"]
    write_text(out / "memory.md", f"{caption}\n\n{table(heads, rows)}\n")


if __name__ == "__main__":
    run(main)
