"""Annotation against its peers on one mosaic, interleaved; and how its time and memory grow with the mosaic."""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.speed.machine import alone, peak_memory, stopwatch
from experiments.speed.mosaics import enlarged, write_mosaic
from experiments.speed.peers import (
    ROI,
    Predictor,
    openvino_predictor,
    plain_predictor,
    sliding_window,
    torch_predictor,
    windows_at_once,
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


class Annotating:
    """One way to annotate; a call gives the seconds of a megapixel.

    Args:
        annotate: does it once; gives labels, where it gives any.
        megapixels: of what is annotated.
        device: that computes.
    """

    def __init__(self, annotate: Callable[[], Any], megapixels: float, device: torch.device) -> None:
        self.annotate, self.megapixels, self.device = annotate, megapixels, device
        self.labels: Any = None
        """Of the last run."""

    def __call__(self) -> float:
        """Annotates."""
        started = stopwatch(self.device)
        self.labels = self.annotate()
        return (stopwatch(self.device) - started) / self.megapixels


def contenders(
    annotator: Annotator, image: NDArray[np.uint8], file: Path, precisions: Sequence[str], backend: str
) -> dict[str, Annotating]:
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

    def window(predict: Predictor, overlap: float, mode: str) -> Annotating:
        return Annotating(lambda: sliding_window(grey.to(device), predict, overlap, mode), megapixels, device)

    found = {}
    for precision in precisions:
        options = AnnotationOptions(precision=precision, backend=backend)
        ours = partial(_ours, replace(annotator), file, options)
        ours()
        found[f"ours, {precision}"] = Annotating(ours, megapixels, device)
        if precision == "int8":
            continue
        for side in bare_sides(image.shape):
            run = partial(_bare, predictor(precision, 1, side), grey[..., :side, :side].contiguous().to(device))
            found[f"bare {side} px, {precision}"] = Annotating(run, side * side / 1e6, device)
        windows = predictor(precision, windows_at_once(device), ROI)
        for overlap in OVERLAPS:
            found[f"MONAI {overlap:g}, {precision}"] = window(windows, overlap, "gaussian")
    found["MONAI as it comes, torch fp32"] = window(plain_predictor(network), 0.25, "constant")
    return found


def bare_sides(shape: Sequence[int]) -> list[int]:
    """Sides of the squares that the bare network is timed on: those that the mosaic holds, and the smallest."""
    return [side for side in BARE_SIDES if side <= min(shape)] or [min(shape) // 16 * 16]


def _ours(annotator: Annotator, file: Path, options: AnnotationOptions) -> NDArray[np.uint8]:
    # An empty cache: the file is read and decoded each time. Graphs are compiled the first time, as the peers' are.
    with tempfile.TemporaryDirectory() as folder:
        annotator.cache = MosaicCache(Path(folder) / "cache")
        annotated = annotator.annotate(file, options)
        write_annotation(Path(folder) / "out", file, annotated)
        return annotated.annotation.labels


def _bare(predict: Predictor, x: torch.Tensor) -> None:
    predict(x)


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


@dataclass(frozen=True)
class Growth:
    """One mosaic in a process of its own, file to files.

    Args:
        megapixels: of the mosaic.
        seconds: read, network and written, model loaded.
        read_share: of the seconds: reading, decoding and resampling.
        network_share: of the seconds: from the image in memory to the labels in memory, the copies between too.
        write_share: of the seconds.
        peak_bytes: most memory that the process held.
    """

    megapixels: float
    seconds: float
    read_share: float
    network_share: float
    write_share: float
    peak_bytes: int


def grow(
    checkpoint: Path, image: NDArray[np.uint8], pixel_size_um: float, shapes: Sequence[tuple[int, int]],
    options: AnnotationOptions,
) -> list[Growth]:  # fmt: skip
    """Annotates mosaics of several shapes, each in a process of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            file = Path(folder) / "mosaic.tif"
            write_mosaic(file, enlarged(image, shape), pixel_size_um)
            found.append(alone(_grown, checkpoint, file, options))
            last = found[-1]
            print(f"{last.megapixels:.0f} MP: {last.seconds:.1f} s, {last.peak_bytes / 1e9:.2f} GB", file=sys.stderr)
    return found


def _grown(checkpoint: Path, file: Path, options: AnnotationOptions) -> Growth:
    with tempfile.TemporaryDirectory() as folder:
        annotator = Annotator.load(checkpoint, cache=MosaicCache(Path(folder) / "cache"))
        started = time.perf_counter()
        annotated = annotator.annotate(file, options)
        write_started = time.perf_counter()
        write_annotation(Path(folder) / "out", file, annotated)
        ended = time.perf_counter()
    seconds = ended - started
    return Growth(
        annotated.labels.size / 1e6,
        seconds,
        read_share=(annotated.read_s or 0.0) / seconds,
        network_share=annotated.annotation.seconds / seconds,
        write_share=(ended - write_started) / seconds,
        peak_bytes=peak_memory(),
    )
