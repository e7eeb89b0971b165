"""Where bands should be cut: the finest level in strips of several widths, beside one pass over 512 × 512 px.

Interleaved in one process, medians, OpenVINO in float32. Usage: python -m experiments.speed.strips CHECKPOINT
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch

from experiments.script import run, table
from experiments.speed.contenders import Annotating
from experiments.speed.machine import Timed, take_turns
from experiments.speed.peers import openvino_request
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import folded
from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend
from rcm_cascade.models import CascadedUNet

ROUNDS: Final = 7
SIDE: Final = 512
STRIPS: Final = ((1632, 160), (2144, 112), (3072, 64), (3072, 80), (4096, 64), (4096, 128))
"""Width and rows, in px of the level."""

HEIGHT: Final = 100_000
"""Of the mosaic, so that strips lie inside it."""

CPU: Final = torch.device("cpu")


def one_pass(network: CascadedUNet) -> Timed:
    """The finest level's U-Net over a square, as OpenVINO converts it."""
    unet = folded(network).levels[-1]
    x = np.random.default_rng(0).random((1, next(unet.parameters()).shape[1], SIDE, SIDE), np.float32)
    request = openvino_request(unet, "fp32", x.shape)
    return Timed(
        f"one pass, {SIDE} × {SIDE}", Annotating(lambda: request.infer([x], share_inputs=True), SIDE * SIDE / 1e6, CPU)
    )


def strip(network: CascadedUNet, width: int, rows: int) -> Timed:
    """One strip after another, well inside a mosaic."""
    backend = OpenVinoBackend(network, "fp32")
    level = len(backend.geometry) - 1
    stream = backend.stream(level, width, HEIGHT)
    channels = 1 + (network.arguments.num_classes if level else 0)
    x = torch.from_numpy(np.random.default_rng(0).random((1, channels, rows, width), np.float32))
    stream._fed = -(-stream.delay // rows) * rows  # past the mosaic's border, whose graphs would take memory
    stream.feed(x)  # compiled
    return Timed(f"strips of {rows} × {width}", Annotating(lambda: stream.feed(x), width * rows / 1e6, CPU))


def main(checkpoint: Path) -> None:
    network = Annotator.load(checkpoint, device="cpu").network
    if not isinstance(network, CascadedUNet):
        raise SystemExit(f"{checkpoint} is no cascade of U-Nets; give another checkpoint")
    runs = [one_pass(network), *(strip(network, width, rows) for width, rows in STRIPS)]
    take_turns(runs, ROUNDS)
    print(table(["finest level (px)", "s/MP read"], [[timed.name, f"{timed.median:.2f}"] for timed in runs]))


if __name__ == "__main__":
    run(main)
