"""A whole mosaic through a cascade: labels of every pixel, as one pass over the whole would give them."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import AnnotationOptions, Backend, open_backend
from rcm_cascade.annotate.levels import LevelPiece, halved, level_pieces, plan
from rcm_cascade.annotate.memory import is_out_of_memory
from rcm_cascade.annotate.tiling import LevelPlan, Shape
from rcm_cascade.data.intensity import Intensity, Normalisation, measure, to_uint8
from rcm_cascade.errors import InputError
from rcm_cascade.models import Network
from rcm_cascade.progress import Advance


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
    """

    labels: NDArray[np.uint8]
    level_labels: tuple[NDArray[np.uint8], ...]
    tile: tuple[Shape, ...]
    precision: str
    backend: str
    device: str
    seconds: float
    factors: tuple[int, ...] = ()


def annotate_image(
    model: Network,
    image: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    tile: int | None = None,
    precision: str = "auto",
    backend: str = "auto",
    normalisation: Normalisation = "mosaic",
    memory: int | None = None,
    progress: Advance | None = None,
    levels: bool = False,
) -> Annotation:
    """Class of each pixel of a mosaic, as one pass over the whole would give it.

    Args:
        model: on any device, float32 or float64; stays as it is, in training or eval mode.
        image: ``(H, W)`` grey, any H and W ≥ 1, at the working pixel size. uint16 is stretched to 8 bit as in training.
        tile: as in `AnnotationOptions`.
        precision: as in `AnnotationOptions`.
        backend: as in `AnnotationOptions`.
        normalisation: as in training; measured on the whole image.
        memory: as in `AnnotationOptions`.
        progress: called after each strip with the megapixels of the mosaic just done: its share of the whole work, so
            coarse levels count for little and the sum is ``H * W / 1e6``.
        levels: whether to return each level's labels too.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        InputError: if the image is not ``(H, W)`` or empty, a name is unknown, or the tile is below 1 px.
    """
    made = open_backend(model, backend, precision)
    grey = grey_image(image)
    options = AnnotationOptions(tile, memory)
    return annotate_with(made, grey, measure(grey, normalisation), options, progress=progress, levels=levels)


def annotate_with(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    options: AnnotationOptions | None = None,
    *,
    progress: Advance | None = None,
    levels: bool = False,
    plans: Sequence[LevelPlan] | None = None,
    observe: Callable[[LevelPiece], None] | None = None,
) -> Annotation:
    """`annotate_image` for a backend that is ready and an intensity that is known, such as one of many mosaics.

    Args:
        backend: of `open_backend`.
        image: ``(H, W)`` uint8, may be memory-mapped.
        intensity: of the whole mosaic.
        options: of which tile and memory count here.
        progress: as in `annotate_image`.
        levels: as in `annotate_image`.
        plans: how the levels are cut; None: as the options say.
        observe: called with every piece of every level, before its logits go. Where memory runs out all levels begin
            again in smaller strips, and pixels that were given come a second time: keep what you see by its position,
            add nothing up.

    Raises:
        InputError: if memory runs out even in the smallest strips; and as `annotate_image` does.
    """
    started = time.perf_counter()
    options = options or AnnotationOptions()
    shape = grey_image(image).shape
    plans = plan(backend, shape, options.tile, options.memory) if plans is None else plans
    labels = np.empty(shape, np.uint8)
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
            for piece in level_pieces(backend, image, intensity, plans, advance, options.memory):
                if observe is not None:
                    observe(piece)
                if piece.merged is not None:
                    labels[piece.rows, piece.cols] = class_ids(piece.merged).cpu().numpy()
                if levels:
                    level_labels[piece.level][piece.rows, piece.cols] = class_ids(piece.logits).cpu().numpy()
            break
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = halved(backend, shape, plans)
            if smaller is None:
                raise InputError(
                    f"memory ran out in strips of {plans[-1].rows} px, the smallest ({error}); close other programs or "
                    "take a machine with more memory"
                ) from error
            plans = smaller
        warnings.warn(
            f"memory ran out; going on in strips of {plans[-1].rows} × {len(plans[-1].bands[0].core)} px",
            RuntimeWarning,
            stacklevel=2,
        )
        done = 0.0
    return Annotation(
        labels=labels,
        level_labels=tuple(level_labels),
        tile=tuple((p.rows, len(p.bands[0].core)) for p in plans),
        precision=backend.precision,
        backend=backend.name,
        device=str(backend.device),
        seconds=time.perf_counter() - started,
        factors=tuple(p.factor for p in plans),
    )


def class_ids(logits: Tensor) -> Tensor:
    """The class with the largest of the logits ``(C, H, W)``, the first of equals, ``(H, W)`` uint8."""
    return logits.max(dim=0).indices.to(torch.uint8)  # argmax takes seven times as long over the first dimension


def grey_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """An image as the network sees it, 8 bit.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        InputError: if it is not ``(H, W)`` or empty.
    """
    if image.ndim != 2 or not image.size:
        raise InputError(f"the image has shape {image.shape}; expected (H, W) with H and W of 1 or more")
    return to_uint8(image)
