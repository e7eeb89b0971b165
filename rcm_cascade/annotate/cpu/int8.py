"""A cascade in 8-bit integers: OpenVINO graphs that NNCF has quantised, in the folder ``.int8`` beside the checkpoint.

Quantised is the finest level, four fifths of the operations, and of the coarser ones, whose error the finer ones take
over, as many as agreement with float32 allows; each level on the priors that those before it give in 8 bits. At the
mosaic's border, where masks go in, the float32 graphs run. It is done once for each checkpoint, on training mosaics,
and what it costs is measured on others.
"""

import io
import logging
import os
import random
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from pydantic import TypeAdapter

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, Backend
from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend, core
from rcm_cascade.annotate.cpu.strips import Part, Tensors
from rcm_cascade.annotate.engine import LevelPiece, annotate_image, level_pieces
from rcm_cascade.annotate.tiling import LevelPlan, Shape, plan_levels, round_up
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError, reason
from rcm_cascade.evaluate.confusion import confusion_matrix, sensitivity
from rcm_cascade.models import Network
from rcm_cascade.models.checkpoint import digest
from rcm_cascade.progress import progress_bar

LEAST_AGREEMENT: Final = 0.98
"""Of the pixels that must have the label float32 gives them; below, int8 is refused unless asked for."""

WANTED_AGREEMENT: Final = 0.985
"""Coarse levels are quantised, too, where this is kept."""

CALIBRATION_MOSAICS: Final = 8
MEASURED_MOSAICS: Final = 4
"""Enough for the ranges of a network's features, and for a share of pixels."""

STRIPS: Final = 48
"""Strips that encoder and decoder are each calibrated on."""

ROWS: Final = 64
"""Of a calibration strip, in px of the level."""

WIDTH: Final = 128
"""Of a calibration strip, in px of the level."""

FindMosaics = Callable[[], tuple[Sequence[Mosaic], Sequence[Mosaic]]]
"""Gives a checkpoint's training mosaics and its validation mosaics, of which there may be none."""


class TooSmallError(InputError):
    """Mosaics hold no strip to calibrate a level on."""


@dataclass(frozen=True)
class Int8Report:
    """What int8 costs, measured on mosaics that it was not calibrated on.

    Args:
        checkpoint_sha256: of the checkpoint that was quantised.
        agreement: share of pixels with the label that float32 gives them.
        sensitivity: of each class, ``[float32, int8]``; None where the class is not labelled.
        first_level: 1-based, the coarsest that is quantised; all finer ones are.
        calibrated_on: names of mosaics.
        measured_on: names of mosaics.
        format: of the files, counted up when graphs of an older version must not be used.
    """

    checkpoint_sha256: str
    agreement: float
    sensitivity: dict[str, tuple[float | None, float | None]]
    first_level: int
    calibrated_on: list[str]
    measured_on: list[str]
    format: Literal[2] = 2


REPORT: Final = TypeAdapter(Int8Report)


def int8_folder(checkpoint: Path) -> Path:
    """Where a checkpoint's quantised graphs and their report lie."""
    return checkpoint.with_suffix(".int8")


def graph_path(folder: Path, level: int, part: Part) -> Path:
    """Of a level's encoder or decoder; level 0 is the coarsest."""
    return folder / f"level{level + 1}-{part}.xml"


def read_report(checkpoint: Path) -> Int8Report | None:
    """What was measured when a checkpoint was quantised; None: it was not, or it has been trained on since."""
    try:
        report = REPORT.validate_json((int8_folder(checkpoint) / "report.json").read_bytes())
        return report if report.checkpoint_sha256 == digest(checkpoint) else None
    except (OSError, ValueError):
        return None


def open_int8(model: Network, checkpoint: Path | None) -> Backend | str:
    """A `Factory`; see there."""
    report = None if checkpoint is None else read_report(checkpoint)
    if checkpoint is None or report is None:
        return (
            f"checkpoint {checkpoint} has not been quantised: `rcm-cascade annotate --checkpoint C --precision int8` "
            "does so on the training mosaics of C, and says what it costs; or leave int8 away"
        )
    return Int8Backend(model, int8_folder(checkpoint), range(report.first_level - 1, len(model.geometry)))


class Int8Backend(OpenVinoBackend):
    """OpenVINO with quantised graphs.

    Args:
        model: that was quantised.
        folder: that holds the graphs.
        levels: whose graphs are quantised, 0 being the coarsest.
    """

    def __init__(self, model: Network, folder: Path, levels: Collection[int]) -> None:
        super().__init__(model, "int8")
        self._folder, self._levels = folder, levels

    def graph(self, level: int, part: Part, width: int, rows: int, masked: bool) -> ov.Model:
        """See `OpenVinoBackend.graph`."""
        if masked or level not in self._levels:
            return super().graph(level, part, width, rows, masked)
        path = graph_path(self._folder, level, part)
        try:
            quantised = core().read_model(path)
        except RuntimeError as error:
            raise InputError(
                f"{path} cannot be read ({reason(error)}); delete {self._folder} and it is made again"
            ) from error
        shapes = self.coder(level, part).shapes(width, rows, masked)
        quantised.reshape({index: list(shape) for index, shape in enumerate(shapes)})
        return quantised


def prepare_int8(annotator: Annotator, find_mosaics: FindMosaics, accept_loss: bool = False) -> Int8Report:
    """Quantises a checkpoint unless that was done, and prints what int8 costs.

    Args:
        annotator: of a checkpoint, on the CPU; the graphs go into the folder ``.int8`` beside it.
        find_mosaics: asked only where the checkpoint was not quantised yet.
        accept_loss: whether an agreement below 98 % is accepted.

    Raises:
        InputError: if the mosaics are too small, or the agreement is too low.
    """
    assert annotator.checkpoint is not None
    report = read_report(annotator.checkpoint) or _quantise_whole(annotator, *find_mosaics())
    changes = ", ".join(
        f"{name} {quick - exact:+.3f}"
        for name, (exact, quick) in report.sensitivity.items()
        if exact is not None and quick is not None
    )
    print(
        f"int8 gives {report.agreement:.2%} of the pixels the label that float32 gives them ({len(report.measured_on)} "
        f"mosaics it was not calibrated on); sensitivity changes: {changes}",
        file=sys.stderr,
    )
    if report.agreement < LEAST_AGREEMENT and not accept_loss:
        raise InputError(
            f"int8 labels {report.agreement:.2%} of the pixels of {annotator.checkpoint} as float32 does; expected "
            f"{LEAST_AGREEMENT:.0%} or more: use --precision auto, or --accept-loss if that is good enough"
        )
    return report


def _quantise_whole(annotator: Annotator, train: Sequence[Mosaic], held_out: Sequence[Mosaic]) -> Int8Report:
    """Graphs and report, or neither."""
    assert annotator.checkpoint is not None
    folder = int8_folder(annotator.checkpoint)
    calibrated_on = train[:CALIBRATION_MOSAICS]
    measured_on = (held_out or train[CALIBRATION_MOSAICS:] or train)[:MEASURED_MOSAICS]
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            unfinished = Path(scratch) / "int8"
            levels = len(annotator.network.geometry)
            for first in range(levels):  # the fewer levels, the nearer to float32
                shutil.rmtree(unfinished, ignore_errors=True)
                try:
                    quantise(annotator.network, calibrated_on, unfinished, first)
                except TooSmallError:
                    if first == levels - 1:
                        raise
                    continue
                report = measure_loss(annotator, unfinished, first, calibrated_on, measured_on)
                if report.agreement >= WANTED_AGREEMENT:
                    break
            (unfinished / "report.json").write_bytes(REPORT.dump_json(report, indent=2))
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}); copy the checkpoint to where there is room"
        ) from error
    return report


def quantise(model: Network, mosaics: Sequence[Mosaic], folder: Path, first: int = 0) -> None:
    """Quantises levels of a cascade, coarse to fine, and writes their graphs.

    Each on strips of some mosaics, as it sees them when the levels before it run in 8 bits.

    Args:
        model: float32, on the CPU, made of U-Nets.
        mosaics: of the training split, at the network's working pixel size.
        folder: for the graphs.
        first: the coarsest level that is quantised, 0 being the coarsest of all.

    Raises:
        InputError: if NNCF is not installed.
        TooSmallError: if the mosaics hold no strip of a level.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF reports each use to its makers, unasked
    try:
        import nncf
    except ImportError as error:
        raise InputError("int8 needs NNCF, which is not installed: pip install 'rcm-cascade[openvino]'") from error
    nncf.set_log_level(logging.ERROR)
    for level in range(first, len(model.geometry)):
        backend = RecordingBackend(model, folder, range(first, level), level)
        for mosaic in mosaics:
            plans = low_strips(backend, mosaic.image.shape)
            pieces = level_pieces(backend, mosaic.image, mosaic.intensity, plans)
            deque(takewhile(partial(_up_to, level), pieces), maxlen=0)
        folder.mkdir(parents=True, exist_ok=True)
        for part, samples in backend.samples.items():
            if not samples:
                raise TooSmallError(
                    f"the mosaics to calibrate int8 on are too small: level {level + 1} sees no strip of {ROWS} px "
                    f"inside them, {WIDTH} px wide; name larger ones with --calibrate ROOT"
                )
            graph = backend.graph(level, part, WIDTH, ROWS, False)
            with redirect_stdout(io.StringIO()):  # its progress bars, which know no other way to be silent
                quantised = nncf.quantize(graph, nncf.Dataset(samples), subset_size=len(samples))
            ov.save_model(quantised, graph_path(folder, level, part), compress_to_fp16=False)


def _up_to(level: int, piece: LevelPiece) -> bool:
    return piece.level <= level


def measure_loss(
    annotator: Annotator, folder: Path, first: int, calibrated_on: Sequence[Mosaic], measured_on: Sequence[Mosaic]
) -> Int8Report:
    """Annotates mosaics both ways, on the working grid; ``folder`` and ``first`` as for `quantise`."""
    int8 = Int8Backend(annotator.network, folder, range(first, len(annotator.network.geometry)))
    fp32 = annotator.prepare(AnnotationOptions(precision="fp32", backend="openvino"))
    classes = annotator.header.classes
    same = 0
    counts = np.zeros((2, len(classes), len(classes)), np.int64)
    pixels = sum(m.image.size for m in measured_on)
    with progress_bar("measuring what int8 costs", 2 * pixels / 1e6, "MP") as advance:
        for mosaic in measured_on:
            plans = low_strips(int8, mosaic.image.shape)
            exact, quick = (
                annotate_image(backend, mosaic.image, intensity=mosaic.intensity, progress=advance, plans=plans).labels
                for backend in (fp32, int8)
            )
            same += int((exact == quick).sum())
            if mosaic.labels is not None:
                counts += np.stack([confusion_matrix(p, mosaic.labels, len(classes)) for p in (exact, quick)])
    exact_values, int8_values = ([None if np.isnan(v) else float(v) for v in row] for row in sensitivity(counts))
    return Int8Report(
        annotator.checkpoint_sha256,
        agreement=same / pixels,
        sensitivity=dict(zip(classes.names, zip(exact_values, int8_values, strict=True), strict=True)),
        first_level=first + 1,
        calibrated_on=[m.name for m in calibrated_on],
        measured_on=[m.name for m in measured_on],
    )


def low_strips(backend: Backend, shape: Shape) -> list[LevelPlan]:
    """Cuts a mosaic ``(H, W)`` into strips so low that most of them lie inside, even of a small one.

    To calibrate and to measure on, for what lies at the border is float32.
    """
    cuts = [(round_up(ROWS, g.alignment), round_up(shape[1], g.alignment)) for g in backend.geometry]
    return plan_levels(backend.geometry, backend.alignment, shape, cuts)


class RecordingBackend(Int8Backend):
    """Keeps what some strips inside the mosaic give to a level's encoder and decoder, cut to one width.

    Args:
        model: to quantise.
        folder: that holds the graphs of the levels before.
        levels: of those, the quantised ones.
        level: that is recorded.
    """

    def __init__(self, model: Network, folder: Path, levels: Collection[int], level: int) -> None:
        super().__init__(model, folder, levels)
        self._recorded = level
        self.samples: dict[Part, list[list[NDArray[np.float32]]]] = {"encoder": [], "decoder": []}
        self._seen: dict[Part, int] = {"encoder": 0, "decoder": 0}
        self._draw = random.Random(0)

    def compute(self, level: int, width: int, part: Part, rows: int, masked: bool, inputs: Tensors) -> Tensors:
        """See `StripBackend.compute`."""
        if level == self._recorded and rows == ROWS and width >= WIDTH and not masked:
            skips = len(self.coder(level, part).skip_channels)
            self.record(width, self.geometry[level].alignment, part, inputs, skips)
        return super().compute(level, width, part, rows, masked, inputs)

    def record(self, width: int, alignment: int, part: Part, inputs: Tensors, skips: int) -> None:
        """Keeps a sample of `STRIPS` of those that come.

        Args:
            width: of the strip, at least `WIDTH`.
            alignment: of the level.
            part: that the inputs are for.
            inputs: of the part's graph.
            skips: how many of them, from the second on, have channels last.
        """
        self._seen[part] += 1
        kept = self.samples[part]
        place = len(kept) if len(kept) < STRIPS else self._draw.randrange(self._seen[part])
        if place >= STRIPS:
            return
        offset = self._draw.randrange(0, width - WIDTH + 1, alignment)
        sample = []
        for index, tensor in enumerate(inputs):
            axis = 2 if 1 <= index <= skips else 3
            factor = width // tensor.shape[axis]
            sample.append(tensor.narrow(axis, offset // factor, WIDTH // factor).contiguous().numpy().copy())
        kept[place : place + 1] = [sample]
