"""The levels of a mosaic, coarse to fine, strip by strip, equal to one pass over the whole.

Coarse first: level 1 runs over the whole mosaic, its prior stays on the device at its own resolution, then level 2, and
so on. A strip's logits live only until they are prior or labels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import Backend
from rcm_cascade.annotate.memory import default_budget, priors_fit, strip_pixels, tensor_on_disk
from rcm_cascade.annotate.tiling import (
    Band,
    LevelPlan,
    Reading,
    Shape,
    Span,
    fitting_cuts,
    plan_levels,
    square_cuts,
)
from rcm_cascade.data.intensity import Intensity, normalise
from rcm_cascade.errors import InputError
from rcm_cascade.models.cascade import area_average, upsample
from rcm_cascade.progress import Advance

STRIP_PIXELS: Final = {"cpu": 2**18, "cuda": 2**22}
"""Px of a strip at most, by device. Measured on a CPU: larger ones fall out of the cache, in smaller ones the rows that
convolutions keep weigh more. A GPU wants large ones; this one is not measured."""

FLOAT_PIXELS: Final = 2**22
"""Px of the mosaic that are floating-point at once while a coarse level's strip is averaged."""


@dataclass(frozen=True)
class LevelPiece:
    """The logits of a part of a level.

    Args:
        level: 0 is the coarsest.
        rows: of the level's output.
        cols: of the level's output.
        logits: of the level's own network, ``(C, rows, cols)``, on its device and in its dtype.
        merged: of the final map, at the finest level: ``logits``, or of independent levels the log of their mean
            probabilities. None at coarser levels.
    """

    level: int
    rows: slice
    cols: slice
    logits: Tensor
    merged: Tensor | None


def plan(backend: Backend, shape: Shape, tile: int | None = None, memory: int | None = None) -> list[LevelPlan]:
    """How each level of a mosaic ``(H, W)`` is cut; `tile` and `memory` as in `rcm_cascade.annotate.annotate_image`.

    Raises:
        InputError: if the tile is below 1 px.
    """
    if tile is not None and tile < 1:
        raise InputError(f"tile is {tile} px; expected 1 or more")
    if tile is None:
        budget = default_budget(backend.device) if memory is None else memory
        fits = strip_pixels(budget, backend.arguments.base_filters, backend.compute_dtype)
        fastest = STRIP_PIXELS.get(backend.device.type, STRIP_PIXELS["cpu"])
        cuts = fitting_cuts(backend.geometry, backend.alignment, shape, min(fits, fastest))
    else:
        cuts = square_cuts(backend.geometry, tile)
    return plan_levels(backend.geometry, backend.alignment, shape, cuts)


def halved(backend: Backend, shape: Shape, plans: Sequence[LevelPlan]) -> list[LevelPlan] | None:
    """Plans with half as many px to a strip; None if these are the smallest."""
    most = max(p.rows * max(len(b.read) for b in p.bands) for p in plans)
    cuts = fitting_cuts(backend.geometry, backend.alignment, shape, most // 2)
    smaller = plan_levels(backend.geometry, backend.alignment, shape, cuts)
    return None if smaller == list(plans) else smaller


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
        progress: as in `rcm_cascade.annotate.annotate_image`.
        memory: as in `rcm_cascade.annotate.annotate_image`.
    """
    budget = default_budget(backend.device) if memory is None else memory
    classes = backend.arguments.num_classes
    in_memory = backend.device.type != "cpu" or priors_fit(budget, plans, classes, backend.prior_dtype)
    depths = [math.log2(g.alignment) for g in backend.geometry]
    work = [p.read_pixels(backend.delay(i)) * depth for i, (p, depth) in enumerate(zip(plans, depths, strict=True))]
    last = len(plans) - 1
    coarser: Tensor | None = None
    for level, current in enumerate(plans):
        prior: Tensor | None = None
        for band in current.bands:
            stream = backend.stream(level, len(band.read), current.frame[0], current.rows)
            for rows in current.strips(stream.delay):
                x = strip_input(
                    backend,
                    image,
                    intensity,
                    coarser if backend.arguments.prior_channels else None,
                    current,
                    rows,
                    band,
                )
                logits = stream.feed(x).to(backend.dtype)
                done = Span(rows.start - stream.delay, rows.stop - stream.delay)
                inside = done.clipped(current.covered[0])
                logits = logits[..., inside.within(done), band.core.within(band.read)]
                below = partial(_below, coarser, current, inside, band, logits.dtype)
                if level < last and len(inside):
                    if prior is None:
                        size, dtype = (1, classes, *current.frame), backend.prior_dtype
                        prior = (
                            torch.empty(size, dtype=dtype, device=backend.device)
                            if in_memory
                            else tensor_on_disk(size, dtype)
                        )
                    prior[..., _slice(inside), _slice(band.core)] = backend.handed_on(logits, below)
                height, width = inside.clipped(current.shape[0]), band.core.clipped(current.shape[1])
                if len(height) and len(width):
                    own = logits[0, :, : len(height), : len(width)]
                    merged = None
                    if level == last:
                        merged = backend.merged(logits, below)[0, :, : len(height), : len(width)]
                    yield LevelPiece(level, _slice(height), _slice(width), own, merged)
                if progress is not None:
                    progress(image.size / 1e6 * len(rows) * len(band.read) * depths[level] / sum(work))
        coarser = prior


def strip_input(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    coarser: Tensor | None,
    plan: LevelPlan,
    rows: Span,
    band: Band,
) -> Tensor:
    """What a level's network sees of a strip: image and prior, and zeros, as a convolution pads, below the frame.

    Args:
        backend: gives device and dtype.
        image: ``(H, W)`` uint8.
        intensity: of the whole mosaic.
        coarser: as in `level_input`.
        plan: of the level.
        rows: of the strip, in px of the level.
        band: that the strip is part of.

    Returns:
        ``(1, C, rows, band.read)``.
    """
    part = plan.reading(rows)
    if not len(part.read):
        channels = 1 if coarser is None else 1 + coarser.shape[1]
        return torch.zeros((1, channels, len(rows), len(band.read)), dtype=backend.dtype, device=backend.device)
    grey = read_level(image, plan.factor, part.read, band.read, backend)
    x = level_input(normalise(grey, intensity.offset, intensity.scale), coarser, part, band)
    return F.pad(x, (0, 0, 0, len(rows) - len(part.read)))


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
    means = torch.empty((1, 1, len(rows), len(cols)), dtype=backend.dtype, device=backend.device)
    band = max(1, FLOAT_PIXELS // (factor * factor * len(cols)))
    for top in range(rows.start, rows.stop, band):
        part = Span(top, min(top + band, rows.stop))
        block = torch.from_numpy(_replicated(image, _scaled(part, factor), _scaled(cols, factor)))
        grey = block.to(backend.device).to(backend.dtype)
        means[:, :, part.within(rows)] = area_average(grey[None, None], factor)
    return means


def level_input(image: Tensor, coarser: Tensor | None, rows: Reading, cols: Reading) -> Tensor:
    """A part's image beside the prior that belongs to it.

    Args:
        image: ``(1, 1, rows.read, cols.read)``, normalised.
        coarser: the whole coarser level's prior ``(1, C, h / 2, w / 2)``; None at the coarsest level.
        rows: that are read.
        cols: that are read.

    Returns:
        ``(1, C + 1, rows.read, cols.read)``, or the image alone.
    """
    if coarser is None:
        return image
    return torch.cat([image, upsampled(coarser, rows, cols, image.dtype)], dim=1)


def upsampled(coarser: Tensor, rows: Reading, cols: Reading, dtype: torch.dtype) -> Tensor:
    """What of the coarser level belongs to a part of this one, ``(1, C, rows.read, cols.read)``."""
    part = coarser[..., _slice(rows.prior), _slice(cols.prior)].to(dtype)
    return upsample(part)[..., rows.read.within(rows.upsampled), cols.read.within(cols.upsampled)]


def _below(coarser: Tensor | None, plan: LevelPlan, inside: Span, band: Band, dtype: torch.dtype) -> Tensor | None:
    """What the coarser level has handed on for a part of this one, up-sampled; None where there is nothing."""
    rows = plan.reading(inside)
    if coarser is None or not len(rows.read):
        return None
    return upsampled(coarser, rows, band, dtype)[..., band.core.within(band.read)]


def _replicated(image: NDArray[np.uint8], rows: Span, cols: Span) -> NDArray[np.uint8]:
    height, width = image.shape
    top, left = min(rows.start, height - 1), min(cols.start, width - 1)
    # A copy: PyTorch refuses memory that is mapped read-only.
    block = np.array(image[top : rows.stop, left : cols.stop])
    missing = len(rows) - block.shape[0], len(cols) - block.shape[1]
    return np.pad(block, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else block


def _scaled(span: Span, factor: int) -> Span:
    return Span(span.start * factor, span.stop * factor)


def _slice(span: Span) -> slice:
    return slice(span.start, span.stop)
