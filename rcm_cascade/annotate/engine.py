"""A whole mosaic through a network's levels, strip by strip: labels of every pixel, as one pass over it would give.

Coarse first: level 1 runs over the whole mosaic, its prior stays on the device at its own resolution, then level 2, and
so on. A strip's logits live only until they are prior or labels.
"""

import math
import os
import re
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import STRIP_SHARE, AnnotationOptions, Backend, open_backend, strip_pixels
from rcm_cascade.annotate.tiling import Band, LevelPlan, Shape, Span, fitting_cuts, plan_levels, prior_span, square_cuts
from rcm_cascade.annotate.together import together
from rcm_cascade.data.intensity import Intensity, Normalisation, measure, normalise, to_uint8
from rcm_cascade.errors import InputError
from rcm_cascade.models import Network
from rcm_cascade.models.cascade import area_average, upsample
from rcm_cascade.progress import Advance

STRIP_PIXELS: Final = {"cpu": 2**18, "cuda": 2**22}
"""Px of a strip at most, by device. Measured on a CPU: larger ones fall out of the cache, in smaller ones the rows that
convolutions keep weigh more. A GPU wants large ones; this one is not measured."""

STRIPS_AHEAD: Final = 2
"""That a GPU is given before the ids of one are waited for: enough that it never waits for the processor."""

_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|can't allocate|cannot allocate|bad[ _]alloc|not enough memory|STATUS_ALLOC_FAILED", re.I
)


@dataclass(frozen=True)
class Annotation:
    """A mosaic's class ids, and how they were found.

    Args:
        labels: of the final map, ``(H, W)`` uint8.
        level_labels: each level's class ids, coarse to fine, ``(ceil(H / factor), ceil(W / factor))`` uint8; empty
            unless asked for.
        tile: height of a strip and width of a band at each level, coarse to fine, in px of the level.
        precision: ``fp32``, ``fp64`` (of a float64 network), ``bf16`` or ``int8``.
        backend: such as ``torch``.
        device: such as ``cpu`` or ``cuda:0``.
        seconds: in the network, from the image in memory to the labels in memory.
        factors: down-sampling of each level, coarse to fine.
        entropy: of the final map's class probabilities, ``(H, W)`` uint8, 255 being the largest there is; None unless
            asked for.
    """

    labels: NDArray[np.uint8]
    level_labels: tuple[NDArray[np.uint8], ...]
    tile: tuple[Shape, ...]
    precision: str
    backend: str
    device: str
    seconds: float
    factors: tuple[int, ...] = ()
    entropy: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class LevelPiece:
    """The logits of a part of a level.

    Args:
        level: 0 is the coarsest.
        rows: of the level's output.
        cols: of the level's output.
        logits: of the level's network, ``(C, rows, cols)``, on its device and in its dtype.
        merged: of the final map, at the finest level: equal to ``logits``, or of independent levels the log of their
            mean probabilities. None at coarser levels.
    """

    level: int
    rows: slice
    cols: slice
    logits: Tensor
    merged: Tensor | None


def annotate_image(
    model: Network | Backend,
    image: NDArray[np.uint8] | NDArray[np.uint16],
    options: AnnotationOptions | None = None,
    *,
    intensity: Intensity | Normalisation = "mosaic",
    progress: Advance | None = None,
    levels: bool = False,
    temperature: float | None = None,
    plans: Sequence[LevelPlan] | None = None,
    observe: Callable[[LevelPiece], None] | None = None,
) -> Annotation:
    """Class of each pixel of a mosaic, as one pass over the whole would give it.

    Args:
        model: on any device, float32 or float64; stays as it is, in training or eval mode. Or a backend that
            `open_backend` has made of it.
        image: ``(H, W)`` grey, any H and W ≥ 1, at the working pixel size, may be memory-mapped. uint16 is stretched to
            8 bit as in training.
        options: tile, memory, precision and backend; the last two mean nothing to a backend that is made.
        intensity: of the whole mosaic; or the normalisation of the training, by which it is measured.
        progress: called after each strip with the megapixels of the mosaic just done: its share of the whole work, so
            coarse levels count for little and the sum is ``H * W / 1e6``.
        levels: whether to return each level's labels too.
        temperature: by which logits are divided before their softmax, of which the entropy is returned too; None: it
            is not wanted.
        plans: how the levels are cut; None: as tile and memory say.
        observe: called with every piece of every level, before its logits go. Where memory runs out all levels begin
            again in smaller strips, and pixels that were given come a second time: keep what you see by its position,
            add nothing up.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        InputError: if the image is not ``(H, W)`` or empty, a name is unknown, the tile is below 1 px, or memory runs
            out even in the smallest strips.
    """
    options = options or AnnotationOptions()
    ready = model if isinstance(model, Backend) else open_backend(model, options.backend, options.precision)
    grey = grey_image(image)
    known = measure(grey, intensity) if isinstance(intensity, str) else intensity
    started = time.perf_counter()
    plans = plan(ready, grey.shape, options.tile, options.memory) if plans is None else plans
    labels = np.empty(grey.shape, np.uint8)
    entropy = None if temperature is None else np.empty(grey.shape, np.uint8)
    level_labels = [np.empty(p.shape, np.uint8) for p in plans] if levels else []
    done = reported = 0.0

    def advance(amount: float) -> None:
        """Does not report again what is done a second time."""
        nonlocal done, reported
        done += amount
        if progress is not None and done > reported:
            progress(done - reported)
            reported = done

    while True:
        try:
            arriving = Arriving()
            for piece in level_pieces(ready, grey, known, plans, advance, options.memory):
                if observe is not None:
                    observe(piece)
                if piece.merged is not None:
                    arriving.add(class_ids(piece.merged), labels[piece.rows, piece.cols])
                    if entropy is not None and temperature is not None:
                        arriving.add(entropy_bytes(piece.merged, temperature), entropy[piece.rows, piece.cols])
                if levels:
                    arriving.add(class_ids(piece.logits), level_labels[piece.level][piece.rows, piece.cols])
            arriving.wait()
            break
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = halved(ready, grey.shape, plans)
            if smaller == list(plans):
                raise InputError(
                    f"memory ran out in strips of {plans[-1].rows} px, the smallest ({error}); close other programs or "
                    "take a machine with more memory"
                ) from error
        plans, done = smaller, 0.0
        size = f"{plans[-1].rows} × {len(plans[-1].bands[0].core)} px"
        warnings.warn(f"memory ran out; going on in strips of {size}", RuntimeWarning, stacklevel=2)
    return Annotation(
        labels=labels,
        level_labels=tuple(level_labels),
        tile=tuple((p.rows, len(p.bands[0].core)) for p in plans),
        precision=ready.precision,
        backend=ready.name,
        device=str(ready.device),
        seconds=time.perf_counter() - started,
        factors=tuple(p.factor for p in plans),
        entropy=entropy,
    )


class Arriving:
    """Class ids on their way from a device into arrays: it begins the next strip before those of the last are here."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[torch.cuda.Event, Tensor, NDArray[np.uint8]]] = deque()

    def add(self, ids: Tensor, place: NDArray[np.uint8]) -> None:
        """Brings ids ``(H, W)`` uint8 to their place ``(H, W)``, where they are later; from a processor, now."""
        if ids.device.type != "cuda":
            place[:] = ids.numpy()
            return
        arrived = torch.empty(ids.shape, dtype=ids.dtype, pin_memory=True)  # only into such does a copy run beside
        arrived.copy_(ids, non_blocking=True)
        event = torch.cuda.current_stream(ids.device).record_event()
        self._under_way.append((event, arrived, place))
        self.wait(STRIPS_AHEAD)

    def wait(self, ahead: int = 0) -> None:
        """Waits until all are here but the last few."""
        while len(self._under_way) > ahead:
            event, arrived, place = self._under_way.popleft()
            event.synchronize()
            place[:] = arrived.numpy()


def class_ids(logits: Tensor) -> Tensor:
    """The class with the largest of the logits ``(C, H, W)``, the first of equals, ``(H, W)`` uint8."""
    return logits.max(dim=0).indices.to(torch.uint8)  # argmax takes seven times as long over the first dimension


def entropy_bytes(logits: Tensor, temperature: float) -> Tensor:
    """Entropy of the softmax of logits ``(C, H, W)`` divided by a temperature, ``(H, W)`` uint8: 255 is ln C.

    A single class is never in doubt: 0.
    """
    log = F.log_softmax(logits.float() / temperature, dim=0)
    return (
        (log.exp().mul_(log).sum(dim=0) * (-255 / math.log(max(len(logits), 2))))
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
    )


def grey_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """An image as the network sees it, 8 bit.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        InputError: if it is not ``(H, W)`` or empty.
    """
    if image.ndim != 2 or not image.size:
        raise InputError(f"the image has shape {image.shape}; expected (H, W) with H and W of 1 or more")
    return to_uint8(image)


def plan(backend: Backend, shape: Shape, tile: int | None = None, memory: int | None = None) -> list[LevelPlan]:
    """How each level of a mosaic ``(H, W)`` is cut; `tile` and `memory` as in `AnnotationOptions`.

    Raises:
        InputError: if the tile is below 1 px.
    """
    if tile is not None and tile < 1:
        raise InputError(f"tile is {tile} px; expected 1 or more")
    if tile is None:
        fits = strip_pixels(backend.budget(memory), backend.arguments.base_filters, backend.compute_dtype)
        fastest = STRIP_PIXELS.get(backend.device.type, STRIP_PIXELS["cpu"])
        cuts = fitting_cuts(backend.geometry, backend.alignment, shape, min(fits, fastest), backend.streams)
    else:
        cuts = square_cuts(backend.geometry, tile)
    return plan_levels(backend.geometry, backend.alignment, shape, cuts)


def halved(backend: Backend, shape: Shape, plans: Sequence[LevelPlan]) -> list[LevelPlan]:
    """Plans with half as many px to a strip, or the same if these are the smallest."""
    most = max(p.rows * max(len(b.read) for b in p.bands) for p in plans)
    cuts = fitting_cuts(backend.geometry, backend.alignment, shape, most // 2, backend.streams)
    return plan_levels(backend.geometry, backend.alignment, shape, cuts)


@torch.inference_mode()
def level_pieces(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    plans: Sequence[LevelPlan],
    progress: Advance | None = None,
    memory: int | None = None,
) -> Iterator[LevelPiece]:
    """Runs every level over the mosaic, coarse to fine, and gives out each strip as it is done.

    Pieces of a level do not overlap and cover its output; what lies in the padding alone is not given out.

    Args:
        backend: of `open_backend`.
        image: ``(H, W)`` uint8.
        intensity: of the whole mosaic.
        plans: of `plan`.
        progress: as in `annotate_image`.
        memory: as in `AnnotationOptions`.
    """
    classes = backend.arguments.num_classes
    in_memory = backend.device.type != "cpu" or priors_fit(backend.budget(memory), plans, classes, backend.prior_dtype)
    last = len(plans) - 1
    work = [p.covered[0] * sum(len(b.read) for b in p.bands) * math.log2(p.alignment) for p in plans]
    coarser: Tensor | None = None
    for level, current in enumerate(plans):
        prior: Tensor | None = None
        if level < last:
            size, dtype = (1, classes, *current.frame), backend.prior_dtype
            prior = torch.empty(size, dtype=dtype, device=backend.device) if in_memory else tensor_on_disk(size, dtype)
        run = partial(_band_pieces, backend, image, intensity, level, current, coarser, prior)
        for piece in together([run(band) for band in current.bands], backend.at_once(len(current.bands))):
            if piece.shown is not None:
                yield piece.shown
            if progress is not None:
                progress(image.size / 1e6 * piece.read * math.log2(current.alignment) / sum(work))
        coarser = prior


@dataclass(frozen=True)
class _Piece:
    """What a strip gives: px that its network read, and what lies inside the mosaic of it, if any."""

    read: int
    shown: LevelPiece | None


def _band_pieces(
    backend: Backend, image: NDArray[np.uint8], intensity: Intensity, level: int, plan: LevelPlan,
    coarser: Tensor | None, prior: Tensor | None, band: Band,
) -> Iterator[_Piece]:  # fmt: skip
    """Runs a band of a level from top to bottom, and fills its part of the level's prior, if there is one."""
    seen = coarser if backend.arguments.prior_channels else None
    read = partial(strip_input, backend, image, intensity, seen, plan, band.read)
    for rows, whole in backend.run(level, plan, len(band.read), read):
        logits = whole.to(backend.dtype)[..., band.core.within(band.read)]
        below = partial(upsampled, coarser, rows, band.core, logits.dtype)
        if prior is not None:
            prior[..., _slice(rows), _slice(band.core)] = backend.handed_on(logits, below)
        height, width = rows.clipped(plan.shape[0]), band.core.clipped(plan.shape[1])
        shown = None
        if len(height) and len(width):
            inside = 0, slice(None), slice(len(height)), slice(len(width))
            merged = backend.merged(logits, below)[inside] if prior is None else None
            shown = LevelPiece(level, _slice(height), _slice(width), logits[inside], merged)
        yield _Piece(len(rows) * len(band.read), shown)


def strip_input(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    coarser: Tensor | None,
    plan: LevelPlan,
    cols: Span,
    rows: Span,
) -> Tensor:
    """What a level's network sees of a strip: image and prior, and zeros, as a convolution pads, below the frame.

    Args:
        backend: gives device and dtype.
        image: ``(H, W)`` uint8.
        intensity: of the whole mosaic.
        coarser: the whole coarser level's prior ``(1, C, h / 2, w / 2)``; None: the network sees none.
        plan: of the level.
        cols: of the band, in px of the level.
        rows: of the strip, in px of the level.

    Returns:
        ``(1, 1 or 1 + C, rows, cols)``.
    """
    inside = rows.clipped(plan.frame[0])
    if not len(inside):
        channels = 1 if coarser is None else 1 + coarser.shape[1]
        return torch.zeros((1, channels, len(rows), len(cols)), dtype=backend.dtype, device=backend.device)
    grey = read_level(image, plan.factor, inside, cols, backend)
    x = normalise(grey, intensity.offset, intensity.scale)
    prior = upsampled(coarser, inside, cols, x.dtype)
    if prior is not None:
        x = torch.cat([x, prior], dim=1)
    return F.pad(x, (0, 0, 0, len(rows) - len(inside)))


def read_level(image: NDArray[np.uint8], factor: int, rows: Span, cols: Span, backend: Backend) -> Tensor:
    """Mean grey levels of a part of the padded mosaic at one level.

    Means of 8-bit levels over ``factor × factor`` are exact in float32, so they do not depend on the strip.

    Args:
        image: ``(H, W)`` uint8; beyond its last row and column these are replicated.
        factor: down-sampling of the level.
        rows: in px of the level.
        cols: in px of the level.
        backend: gives device and dtype.

    Returns:
        ``(1, 1, rows, cols)``, grey levels in ``[0, 255]``.
    """
    height, width = image.shape
    down, across = _scaled(rows, factor), _scaled(cols, factor)
    block = image[min(down.start, height - 1) : down.stop, min(across.start, width - 1) : across.stop]
    missing = len(down) - block.shape[0], len(across) - block.shape[1]
    # A copy in any case: PyTorch refuses memory that is mapped read-only.
    padded = torch.from_numpy(np.pad(block, ((0, missing[0]), (0, missing[1])), mode="edge"))
    if backend.device.type == "cuda":
        padded = padded.pin_memory()  # else the copy would wait until the GPU has done all that it was given before
    return area_average(padded.to(backend.device, non_blocking=True).to(backend.dtype)[None, None], factor)


def upsampled(coarser: Tensor | None, rows: Span, cols: Span, dtype: torch.dtype) -> Tensor | None:
    """What of a coarser level ``(1, C, h / 2, w / 2)`` belongs to a part of the next one, ``(1, C, rows, cols)``.

    None where there is no coarser level, or none that is wanted.
    """
    if coarser is None:
        return None
    down, across = (prior_span(span, size) for span, size in zip((rows, cols), coarser.shape[-2:], strict=True))
    part = upsample(coarser[..., _slice(down), _slice(across)].to(dtype))
    return part[..., rows.within(_scaled(down, 2)), cols.within(_scaled(across, 2))]


def priors_fit(budget: int, plans: Sequence[LevelPlan], classes: int, dtype: torch.dtype) -> bool:
    """Whether the coarse levels' priors, of which two are alive at once, fit into what strips leave of a budget."""
    frames = [p.frame[0] * p.frame[1] for p in plans[:-1]]
    most = max((a + b for a, b in zip([0, *frames], frames, strict=False)), default=0)
    return most * classes * dtype.itemsize <= (1 - STRIP_SHARE) * budget


def tensor_on_disk(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor that lives in a temporary file, which goes with it.

    Raises:
        InputError: if the disk has no room for it.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    with tempfile.TemporaryFile(prefix="rcm_cascade-") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a sparse file would kill the process when the disk is full
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()} has no room for {size / 1e9:.2f} GB of intermediate results "
                f"({error.strerror}); set TMPDIR to another folder, or allow more memory with --memory"
            ) from error
        mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    return torch.from_numpy(mapped).view(dtype).reshape(tuple(shape))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: each library has its own."""
    said = isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(said)


def _scaled(span: Span, factor: int) -> Span:
    return Span(span.start * factor, span.stop * factor)


def _slice(span: Span) -> slice:
    return slice(span.start, span.stop)
