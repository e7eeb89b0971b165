"""A cascade in 8-bit integers: OpenVINO graphs that NNCF has quantised, stored beside the checkpoint.

Quantised is the finest level, four fifths of the operations: of the coarser levels, whose error the finer ones take
over, the float32 graphs run. So they do at the mosaic's border, where masks go in.
"""

import io
import json
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import Backend
from rcm_cascade.annotate.cpu.openvino_backend import Build, OpenVinoBackend
from rcm_cascade.annotate.cpu.streaming import StripRunner
from rcm_cascade.annotate.levels import level_pieces
from rcm_cascade.annotate.tiling import LevelPlan, Shape, plan_levels, round_up
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet

FORMAT: Final = 1
"""Counted up when graphs of an older version must not be used."""

LEAST_AGREEMENT: Final = 0.98
"""Of the pixels that must have the label float32 gives them; below, int8 is refused unless asked for."""

STRIPS: Final = 48
"""Strips that encoder and decoder are each calibrated on."""

ROWS: Final = 64
"""Of a calibration strip, in px of the level."""

WIDTH: Final = 128
"""Of a calibration strip, in px of the level."""

PARTS: Final = ("encoder", "decoder")


@dataclass(frozen=True)
class Int8Report:
    """What int8 costs, measured on mosaics that it was not calibrated on.

    Args:
        checkpoint_sha256: of the checkpoint that was quantised.
        agreement: share of pixels with the label that float32 gives them.
        sensitivity: of each class, ``[float32, int8]``; None where the class is not labelled.
        calibrated_on: names of mosaics.
        measured_on: names of mosaics.
        format: of the files.
    """

    checkpoint_sha256: str
    agreement: float
    sensitivity: dict[str, tuple[float | None, float | None]]
    calibrated_on: list[str]
    measured_on: list[str]
    format: int = FORMAT


def read_report(folder: Path, checkpoint_sha256: str) -> Int8Report | None:
    """What was measured when a checkpoint was quantised; None: it was not, or it has been trained on since."""
    try:
        told = json.loads((folder / "report.json").read_text("utf-8"))
        report = Int8Report(**told)
    except (OSError, ValueError, TypeError):
        return None
    return report if (report.format, report.checkpoint_sha256) == (FORMAT, checkpoint_sha256) else None


def write_report(folder: Path, report: Int8Report) -> None:
    """Written last: without it the graphs beside it do not count."""
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", "utf-8")


class Int8Backend(OpenVinoBackend):
    """OpenVINO with quantised graphs.

    Args:
        model: that was quantised.
        folder: of `quantise`.
    """

    def __init__(self, model: CascadedUNet, folder: Path) -> None:
        super().__init__(model, "int8")
        self._folder = folder

    def _builds(self, level: int) -> tuple[Build, Build]:
        encoder, decoder = super()._builds(level)
        if level < len(self.geometry) - 1:
            return encoder, decoder
        return self._quantised("encoder", encoder), self._quantised("decoder", decoder)

    def _quantised(self, part: str, exact: Build) -> Build:
        path = graph_path(self._folder, part)

        def build(width: int, rows: int, masked: bool) -> ov.Model:
            plain = exact(width, rows, masked)
            if masked:
                return plain
            try:
                graph = self._core.read_model(path)
            except RuntimeError as error:
                raise InputError(
                    f"{path} cannot be read ({str(error).splitlines()[0]}); delete {self._folder} and it is made again"
                ) from error
            graph.reshape({index: list(given.shape) for index, given in enumerate(plain.inputs)})
            return graph

        return build


def graph_path(folder: Path, part: str) -> Path:
    """Of the finest level's ``encoder`` or ``decoder``."""
    return folder / f"{part}.xml"


def quantise(model: CascadedUNet, mosaics: Sequence[Mosaic], folder: Path) -> None:
    """Quantises a cascade on strips that float32 sees of some mosaics, and writes its graphs.

    Args:
        model: float32, on the CPU.
        mosaics: of the training split, at the network's working pixel size.
        folder: for the graphs.

    Raises:
        InputError: if NNCF is not installed or the mosaics are too small.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF reports each use to its makers, unasked
    try:
        import nncf
    except ImportError as error:
        raise InputError("int8 needs NNCF, which is not installed: pip install 'rcm-cascade[openvino]'") from error
    nncf.set_log_level(logging.ERROR)
    backend = _RecordingBackend(model)
    for mosaic in mosaics:
        plans = low_strips(backend, mosaic.image.shape)
        deque(level_pieces(backend, mosaic.image, mosaic.intensity, plans), maxlen=0)
    folder.mkdir(parents=True, exist_ok=True)
    finest = len(backend.geometry) - 1
    for part, build in zip(PARTS, backend.builds(finest), strict=True):
        samples = backend.samples[part]
        if not samples:
            raise InputError(
                f"the mosaics to calibrate int8 on are too small: level {finest + 1} sees no strip of {ROWS} px inside "
                f"them, {WIDTH} px wide; name larger ones with --calibrate ROOT"
            )
        with redirect_stdout(io.StringIO()):  # its progress bars, which know no other way to be silent
            graph = nncf.quantize(build(WIDTH, ROWS, False), nncf.Dataset(samples), subset_size=len(samples))
        ov.save_model(graph, graph_path(folder, part), compress_to_fp16=False)


def low_strips(backend: Backend, shape: Shape) -> list[LevelPlan]:
    """Cuts a mosaic ``(H, W)`` into strips so low that most of them lie inside, even of a small one.

    To calibrate and to measure on, for what lies at the border is float32.
    """
    cuts = [(round_up(ROWS, g.alignment), round_up(shape[1], g.alignment)) for g in backend.geometry]
    return plan_levels(backend.geometry, backend.alignment, shape, cuts)


class _RecordingBackend(OpenVinoBackend):
    """Keeps what some strips inside the mosaic give to the finest level's encoder and decoder, cut to one width."""

    def __init__(self, model: CascadedUNet) -> None:
        super().__init__(model, "fp32")
        self.samples: dict[str, list[list[NDArray[np.float32]]]] = {part: [] for part in PARTS}
        self._seen = dict.fromkeys(PARTS, 0)
        self._draw = random.Random(0)

    def builds(self, level: int) -> tuple[Build, Build]:
        """How the graphs that are to be quantised are made."""
        return self._builds(level)

    def _runner(self, level: int, width: int) -> StripRunner:
        runner = super()._runner(level, width)
        if level < len(self.geometry) - 1:
            return runner
        return _Recorder(runner, partial(self._record, width, self.geometry[level].alignment))

    def _record(self, width: int, alignment: int, part: str, inputs: Sequence[Tensor], nhwc: int) -> None:
        if width < WIDTH:
            return
        self._seen[part] += 1
        kept = self.samples[part]
        place = len(kept) if len(kept) < STRIPS else self._draw.randrange(self._seen[part])
        if place >= STRIPS:
            return
        offset = self._draw.randrange(0, width - WIDTH + 1, alignment)
        sample = []
        for index, tensor in enumerate(inputs):
            axis = 2 if 1 <= index <= nhwc else 3
            factor = width // tensor.shape[axis]
            sample.append(tensor.narrow(axis, offset // factor, WIDTH // factor).contiguous().numpy().copy())
        kept[place:] = [sample, *kept[place + 1 :]]


class _Recorder(StripRunner):
    def __init__(self, runner: StripRunner, record: Callable[[str, Sequence[Tensor], int], None]) -> None:
        self._runner, self._record = runner, record

    def encode(
        self, x: Tensor, kept: Sequence[Tensor], masks: Sequence[Tensor], skips: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        if not masks and x.shape[2] == ROWS:
            self._record("encoder", (x, *kept), 0)
        return self._runner.encode(x, kept, masks, skips)

    def decode(
        self, x: Tensor, skips: Sequence[Tensor], kept: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        if not masks and skips[0].shape[1] == ROWS:
            self._record("decoder", (x, *skips, *kept), len(skips))
        return self._runner.decode(x, skips, kept, masks)
