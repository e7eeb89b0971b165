"""A whole mosaic through a cascade, level by level, tile by tile, equal to one pass over the whole.

Coarse first: level 1 runs over the whole mosaic, its prior stays on the device at its own resolution, then level 2, and
so on. A tile's logits live only until they are prior or labels.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import Backend, open_backend
from rcm_cascade.annotate.tiling import LevelPlan, Shape, Span, Tile, fitting_tiles, plan_levels, square_tiles
from rcm_cascade.data.intensity import Intensity, Normalisation, measure, normalise, to_uint8
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.cascade import area_average, upsample
from rcm_cascade.progress import Advance

TILE_READ_PIXELS: Final = 5 * 2**18
"""Px that a tile reads by default, halo included: about 1,145². Measured on a CPU, with 8 filters as with 24: smaller
tiles recompute more halo, larger ones fall out of the cache."""

BAND_PIXELS: Final = 2**22
"""Px of the mosaic that are floating-point at once while a coarse level's tile is averaged."""


@dataclass(frozen=True)
class LevelTile:
    """The logits of one tile, cropped to its core.

    Args:
        level: 0 is the coarsest.
        rows: of the level's output.
        cols: of the level's output.
        logits: ``(C, rows, cols)``, on the network's device and in its dtype.
    """

    level: int
    rows: slice
    cols: slice
    logits: Tensor


@dataclass(frozen=True)
class Annotation:
    """A mosaic's class ids, and how they were found.

    Args:
        labels: ``(H, W)`` uint8.
        level_labels: each level's own class ids, coarse to fine, ``(ceil(H / factor), ceil(W / factor))`` uint8; empty
            unless asked for.
        tile: height and width of a core at each level, coarse to fine, in px of the level.
        precision: ``fp32``, ``fp64`` (of a float64 network) or ``bf16``.
        backend: such as ``torch``.
        device: such as ``cpu`` or ``cuda:0``.
        seconds: in the network, from the image in memory to the labels in memory.
    """

    labels: NDArray[np.uint8]
    level_labels: tuple[NDArray[np.uint8], ...]
    tile: tuple[Shape, ...]
    precision: str
    backend: str
    device: str
    seconds: float


def annotate_image(
    model: CascadedUNet,
    image: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    tile: int | None = None,
    precision: str = "auto",
    backend: str = "auto",
    normalisation: Normalisation = "mosaic",
    progress: Advance | None = None,
    levels: bool = False,
) -> Annotation:
    """Class of each pixel of a mosaic, as one pass over the whole would give it.

    Args:
        model: on any device, float32 or float64; stays as it is, in training or eval mode.
        image: ``(H, W)`` grey, any H and W ≥ 1, at the working pixel size. uint16 is stretched to 8 bit as in training.
        tile: side of a square core in px of each level, rounded up to the level's alignment; chosen for speed by
            default.
        precision: ``auto``, ``fp32`` (the network's own dtype) or ``bf16``; ``auto`` takes bf16 where the processor
            has it.
        backend: ``auto`` or ``torch``.
        normalisation: as in training; measured on the whole image.
        progress: called after each tile with the megapixels of the mosaic just done: its share of the whole work, so
            coarse levels count for little and the sum is ``H * W / 1e6``.
        levels: whether to return each level's own labels too.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        ValueError: if the image is not ``(H, W)`` or empty.
        InputError: if a name is unknown or the tile is below 1 px.
    """
    runner = open_backend(model, backend, precision)
    grey = _checked(image)
    return annotate_with(runner, grey, measure(grey, normalisation), tile=tile, progress=progress, levels=levels)


def annotate_with(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    *,
    tile: int | None = None,
    progress: Advance | None = None,
    levels: bool = False,
) -> Annotation:
    """`annotate_image` for a backend that is ready and an intensity that is known, such as one of many mosaics.

    Args:
        backend: of `open_backend`.
        image: ``(H, W)`` uint8, may be memory-mapped.
        intensity: of the whole mosaic.
        tile: as in `annotate_image`.
        progress: as in `annotate_image`.
        levels: as in `annotate_image`.

    Raises:
        ValueError: as `annotate_image` does.
    """
    started = time.perf_counter()
    plans = plan(backend, _checked(image).shape, tile)
    last = len(plans) - 1
    maps = [np.empty(p.shape if levels or i == last else (0, 0), np.uint8) for i, p in enumerate(plans)]
    for piece in level_tiles(backend, image, intensity, plans, progress):
        if levels or piece.level == last:
            maps[piece.level][piece.rows, piece.cols] = piece.logits.argmax(0).to(torch.uint8).cpu().numpy()
    return Annotation(
        labels=maps[-1],
        level_labels=tuple(maps) if levels else (),
        tile=tuple((len(p.rows[0].core), len(p.cols[0].core)) for p in plans),
        precision=backend.precision,
        backend=backend.name,
        device=str(backend.device),
        seconds=time.perf_counter() - started,
    )


def plan(backend: Backend, shape: Shape, tile: int | None = None) -> list[LevelPlan]:
    """How each level of a mosaic ``(H, W)`` is cut; `tile` as in `annotate_image`.

    Raises:
        InputError: if the tile is below 1 px.
    """
    if tile is not None and tile < 1:
        raise InputError(f"tile is {tile} px; expected 1 or more")
    if tile is None:
        tiles = fitting_tiles(backend.geometry, backend.alignment, shape, TILE_READ_PIXELS)
    else:
        tiles = square_tiles(backend.geometry, tile)
    return plan_levels(backend.geometry, backend.alignment, shape, tiles)


@torch.inference_mode()
def level_tiles(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    plans: Sequence[LevelPlan],
    progress: Advance | None = None,
) -> Iterator[LevelTile]:
    """Runs every level over the mosaic, coarse to fine, and gives out each tile as it is done.

    Tiles of a level do not overlap and cover its output; those that lie in the padding alone are not given out.

    Args:
        backend: of `open_backend`.
        image: ``(H, W)`` uint8.
        intensity: of the whole mosaic.
        plans: of `plan`.
        progress: as in `annotate_image`.
    """
    work = [p.read_pixels * math.log2(g.alignment) for p, g in zip(plans, backend.geometry, strict=True)]
    coarser: Tensor | None = None
    for level, current in enumerate(plans):
        prior: Tensor | None = None
        for rows in current.rows:
            for cols in current.cols:
                grey = read_level(image, current.factor, rows.read, cols.read, backend)
                logits = backend.logits(
                    level, level_input(normalise(grey, intensity.offset, intensity.scale), coarser, rows, cols)
                )
                logits = logits[..., rows.core.within(rows.read), cols.core.within(cols.read)]
                if level < len(plans) - 1:
                    if prior is None:
                        size = (1, logits.shape[1], *current.frame)
                        prior = torch.empty(size, dtype=backend.prior_dtype, device=backend.device)
                    prior[..., _slice(rows.core), _slice(cols.core)] = backend.as_prior(logits)
                height, width = (
                    core.clipped(end) for core, end in zip((rows.core, cols.core), current.shape, strict=True)
                )
                if len(height) and len(width):
                    yield LevelTile(level, _slice(height), _slice(width), logits[0, :, : len(height), : len(width)])
                if progress is not None:
                    share = len(rows.read) * len(cols.read) * work[level] / current.read_pixels / sum(work)
                    progress(image.size / 1e6 * share)
        coarser = prior


def read_level(image: NDArray[np.uint8], factor: int, rows: Span, cols: Span, backend: Backend) -> Tensor:
    """Mean grey levels of a part of the padded mosaic at one level.

    Means of 8-bit levels over ``factor × factor`` are exact in float32, so they do not depend on the tile.

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
    band = max(1, BAND_PIXELS // (factor * factor * len(cols)))
    for top in range(rows.start, rows.stop, band):
        part = Span(top, min(top + band, rows.stop))
        block = torch.from_numpy(_replicated(image, _scaled(part, factor), _scaled(cols, factor)))
        grey = block.to(backend.device).to(backend.dtype)
        means[:, :, part.within(rows)] = area_average(grey[None, None], factor)
    return means


def level_input(image: Tensor, coarser: Tensor | None, rows: Tile, cols: Tile) -> Tensor:
    """A tile's image beside the part of the prior that belongs to it.

    Args:
        image: ``(1, 1, rows.read, cols.read)``, normalised.
        coarser: the whole coarser level's prior ``(1, C, h / 2, w / 2)``; None at the coarsest level.
        rows: of the tile.
        cols: of the tile.

    Returns:
        ``(1, C + 1, rows.read, cols.read)``, or the image alone.
    """
    if coarser is None:
        return image
    part = coarser[..., _slice(rows.prior), _slice(cols.prior)].to(image.dtype)
    part = upsample(part)[..., rows.read.within(rows.upsampled), cols.read.within(cols.upsampled)]
    return torch.cat([image, part], dim=1)


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


def _checked(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if image.ndim != 2 or not image.size:
        raise ValueError(f"image has shape {image.shape}; expected (H, W) with H and W of 1 or more")
    return to_uint8(image)
