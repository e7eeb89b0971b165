"""Annotation against its peers on one mosaic, interleaved; and how its time and memory grow with the mosaic."""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.speed.machine import matmul_rate, peak_memory, stopwatch
from experiments.speed.mosaics import enlarged, write_mosaic
from experiments.speed.peers import (
    BATCH,
    ROI,
    Predictor,
    openvino_predictor,
    plain_predictor,
    sliding_window,
    torch_predictor,
)
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, Backend
from rcm_cascade.annotate.engine import plan
from rcm_cascade.annotate.outputs import write_annotation
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.intensity import measure, normalise
from rcm_cascade.models.summary import summarise_network

BARE_SIDES: Final = (512, 1024, 1536, 2048)
OVERLAPS: Final = (0.25, 0.5)


@dataclass
class Contender:
    """One way to annotate.

    Args:
        name: as the table shows it.
        run: annotates once; gives labels, or None where it gives none, and the megapixels that it did.
        seconds: of each run.
        labels: of the first run.
        megapixels: of a run.
    """

    name: str
    run: Callable[[], tuple[NDArray[np.uint8] | None, float]]
    seconds: list[float] = field(default_factory=list)
    labels: NDArray[np.uint8] | None = None
    megapixels: float = 0.0

    @property
    def per_megapixel(self) -> float:
        """Median seconds for a megapixel."""
        return median(self.seconds) / self.megapixels


def interleave(contenders: Sequence[Contender], rounds: int, device: torch.device) -> None:
    """Runs all of them in turn, so that what else the machine does falls on each alike."""
    for number in range(rounds):
        for contender in contenders:
            started = stopwatch(device)
            labels, contender.megapixels = contender.run()
            contender.seconds.append(stopwatch(device) - started)
            if contender.labels is None:
                contender.labels = labels
            print(f"round {number + 1}: {contender.name}: {contender.seconds[-1]:.1f} s", file=sys.stderr)


def contenders(
    annotator: Annotator, image: NDArray[np.uint8], file: Path, precisions: Sequence[str], backend: str
) -> list[Contender]:
    """Bare network, ours and MONAI's at each precision, and MONAI as it comes.

    Args:
        annotator: its network is left as it is.
        image: ``(H, W)`` uint8.
        file: a TIFF of it.
        precisions: the first one is what MONAI is also compared at; ``int8`` is ours only.
        backend: ``torch`` or ``openvino``.
    """
    intensity = measure(image)
    network, device = annotator.network, next(annotator.network.parameters()).device
    grey = normalise(torch.from_numpy(np.array(image))[None, None].float(), intensity.offset, intensity.scale)
    megapixels = image.size / 1e6

    def predictor(precision: str, batch: int, side: int) -> Predictor:
        if backend == "openvino":
            return openvino_predictor(network, precision, (batch, 1, side, side))
        return torch_predictor(network, precision)

    def window(predict: Predictor, overlap: float, mode: str) -> Callable[[], tuple[NDArray[np.uint8], float]]:
        return lambda: (sliding_window(grey.to(device), predict, overlap, mode), megapixels)

    found = []
    for precision in precisions:
        found.append(Contender(f"ours, {precision}", _ours(annotator, file, precision, backend, megapixels)))
        if precision == "int8":
            continue
        for side in bare_sides(image.shape):
            x = grey[..., :side, :side].contiguous().to(device)
            found.append(Contender(f"bare {side} px, {precision}", _bare(predictor(precision, 1, side), x)))
        windows = predictor(precision, BATCH, ROI)
        for overlap in OVERLAPS:
            found.append(Contender(f"MONAI {overlap:g}, {precision}", window(windows, overlap, "gaussian")))
    found.append(Contender("MONAI as it comes, torch fp32", window(plain_predictor(network), 0.25, "constant")))
    return found


def bare_sides(shape: Sequence[int]) -> list[int]:
    """Sides of the squares that the bare network is timed on: those that the mosaic holds, and the smallest."""
    return [side for side in BARE_SIDES if side <= min(shape)] or [min(shape) // 16 * 16]


def _ours(
    annotator: Annotator, file: Path, precision: str, backend: str, megapixels: float
) -> Callable[[], tuple[NDArray[np.uint8], float]]:
    def run() -> tuple[NDArray[np.uint8], float]:
        # An empty cache: the file is read and decoded each time. A fresh annotator: graphs are compiled each time.
        with tempfile.TemporaryDirectory() as folder:
            fresh = Annotator(
                annotator.network,
                annotator.header,
                annotator.checkpoint,
                annotator.checkpoint_sha256,
                MosaicCache(Path(folder) / "cache"),
            )
            annotated = fresh.annotate(file, AnnotationOptions(precision=precision, backend=backend))
            write_annotation(Path(folder) / "out", file, annotated)
            return annotated.annotation.labels, megapixels

    return run


def _bare(predict: Predictor, x: torch.Tensor) -> Callable[[], tuple[None, float]]:
    def run() -> tuple[None, float]:
        predict(x)
        return None, x[0, 0].numel() / 1e6

    return run


def recomputation(backend: Backend, shape: tuple[int, int]) -> float:
    """Operations of annotating a mosaic, over those of one pass over it, each level by its operations a px."""
    plans = plan(backend, shape)
    costs = [s.gflop_per_mp * s.factor**2 for s in summarise_network(backend.arguments)]
    done = sum(
        c * len(strip) * len(band.read)
        for c, p, g in zip(costs, plans, backend.geometry, strict=True)
        for strip in p.strips(g.reach)
        for band in p.bands
    )
    needed = sum(c * p.shape[0] * p.shape[1] for c, p in zip(costs, plans, strict=True))
    return done / needed


def floor_s_per_mp(annotator: Annotator, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds for a megapixel if all operations ran as fast as a large matrix product; and that speed, operations/s."""
    rate = matmul_rate(next(annotator.network.parameters()).device, dtype)
    return sum(s.gflop_per_mp for s in summarise_network(annotator.network.arguments)) * 1e9 / rate, rate


@dataclass(frozen=True)
class Growth:
    """One mosaic in a process of its own, file to files.

    Args:
        megapixels: of the mosaic.
        seconds: read, network and written, model loaded.
        write_share: of the seconds.
        peak_bytes: most memory that the process held.
    """

    megapixels: float
    seconds: float
    write_share: float
    peak_bytes: int


def grow(
    checkpoint: Path, image: NDArray[np.uint8], pixel_size_um: float, shapes: Sequence[tuple[int, int]],
    options: Mapping[str, Any],
) -> list[Growth]:  # fmt: skip
    """Annotates mosaics of several shapes, each in a process of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            file = Path(folder) / "mosaic.tif"
            write_mosaic(file, enlarged(image, shape), pixel_size_um)
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                found.append(pool.apply(_grown, (checkpoint, file, dict(options))))
            last = found[-1]
            print(f"{last.megapixels:.0f} MP: {last.seconds:.1f} s, {last.peak_bytes / 1e9:.2f} GB", file=sys.stderr)
    return found


def _grown(checkpoint: Path, file: Path, options: dict[str, Any]) -> Growth:
    with tempfile.TemporaryDirectory() as folder:
        annotator = Annotator.load(checkpoint, cache=MosaicCache(Path(folder) / "cache"))
        started = time.perf_counter()
        annotated = annotator.annotate(file, AnnotationOptions(**options))
        write_started = time.perf_counter()
        write_annotation(Path(folder) / "out", file, annotated)
        ended = time.perf_counter()
    seconds = ended - started
    return Growth(annotated.labels.size / 1e6, seconds, (ended - write_started) / seconds, peak_memory())
