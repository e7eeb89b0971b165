"""Where bands should be cut: the finest level in strips of several widths, beside one pass over 512 × 512 px.

Interleaved in one process, medians, OpenVINO in float32. Usage: python -m experiments.speed.strips CHECKPOINT
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import openvino as ov
import torch

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend, core
from rcm_cascade.annotate.cpu.strips import folded
from rcm_cascade.models import CascadedUNet

ROUNDS: Final = 7
SIDE: Final = 512
STRIPS: Final = ((1632, 160), (2144, 112), (3072, 64), (3072, 80), (4096, 64), (4096, 128))
"""Width and rows, in px of the level."""

HEIGHT: Final = 100_000
"""Of the mosaic, so that strips lie inside it."""

Run = tuple[Callable[[], object], float]
"""What to time, and the megapixels that it does."""


def cascade(annotator: Annotator) -> CascadedUNet:
    """The network, which has U-Nets that strips can run through."""
    if not isinstance(annotator.network, CascadedUNet):
        raise SystemExit(f"{annotator.checkpoint} is no cascade of U-Nets; give another checkpoint")
    return annotator.network


def one_pass(annotator: Annotator) -> Run:
    """The finest level's U-Net over a square, as OpenVINO converts it."""
    unet = folded(cascade(annotator)).levels[-1]
    x = torch.rand(1, next(unet.parameters()).shape[1], SIDE, SIDE)
    trace: Any = torch.jit.trace  # not typed
    traced = trace(unet, x, check_trace=False)
    graph = ov.convert_model(traced, example_input=x, input=[list(x.shape)])
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = core().compile_model(graph, "CPU", options).create_infer_request()
    return lambda: request.infer([x.numpy()], share_inputs=True), SIDE * SIDE / 1e6


def strip(annotator: Annotator, width: int, rows: int) -> Run:
    """One strip after another, well inside a mosaic."""
    backend = OpenVinoBackend(cascade(annotator), "fp32")
    level = len(backend.geometry) - 1
    stream = backend.stream(level, width, HEIGHT)
    channels = 1 + (annotator.network.arguments.num_classes if level else 0)
    x = torch.from_numpy(np.random.default_rng(0).random((1, channels, rows, width), np.float32))
    stream._fed = -(-stream.delay // rows) * rows  # past the mosaic's border, whose graphs would take memory
    stream.feed(x)  # compiled
    return lambda: stream.feed(x), width * rows / 1e6


def main(checkpoint: Path) -> None:
    annotator = Annotator.load(checkpoint, device="cpu")
    runs = {f"one pass, {SIDE} × {SIDE}": one_pass(annotator)}
    runs |= {f"strips of {rows} × {width}": strip(annotator, width, rows) for width, rows in STRIPS}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (run, megapixels) in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - started) / megapixels)
    print("| finest level (px) | s/MP read |\n|---|---:|")
    for name, values in seconds.items():
        print(f"| {name} | {median(values):.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
