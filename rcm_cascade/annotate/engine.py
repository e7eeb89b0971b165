"""A whole mosaic through a cascade: labels of every pixel, as one pass over the whole would give them."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import Backend, open_backend
from rcm_cascade.annotate.levels import LevelPiece, halved, level_pieces, plan
from rcm_cascade.annotate.memory import default_budget, is_out_of_memory
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
        level_labels: each level's own class ids, coarse to fine, ``(ceil(H / factor), ceil(W / factor))`` uint8; empty
            unless asked for.
        tile: height of a strip and width of a band at each level, coarse to fine, in px of the level.
        precision: ``fp32``, ``fp64`` (of a float64 network) or ``bf16``.
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
        tile: height of a strip and width of a band in px of each level, rounded up to the level's alignment; chosen
            for speed, within the memory, by default.
        precision: ``auto``, ``fp32`` (the network's own dtype) or ``bf16``; ``auto`` takes bf16 where the processor
            has it.
        backend: ``auto``, ``torch`` or ``openvino``.
        normalisation: as in training; measured on the whole image.
        memory: bytes that strips and priors may take, beside image and labels; 2 GB on a CPU and most of what is free
            on a GPU by default. Priors that do not fit go to a temporary file.
        progress: called after each strip with the megapixels of the mosaic just done: its share of the whole work, so
            coarse levels count for little and the sum is ``H * W / 1e6``.
        levels: whether to return each level's own labels too.

    Raises:
        TypeError: if the image is neither uint8 nor uint16.
        ValueError: if the image is not ``(H, W)`` or empty.
        InputError: if a name is unknown or the tile is below 1 px.
    """
    runner = open_backend(model, backend, precision)
    grey = _checked(image)
    return annotate_with(
        runner, grey, measure(grey, normalisation), tile=tile, memory=memory, progress=progress, levels=levels
    )


def annotate_with(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    *,
    tile: int | None = None,
    memory: int | None = None,
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
        tile: as in `annotate_image`.
        memory: as in `annotate_image`.
        progress: as in `annotate_image`.
        levels: as in `annotate_image`.
        plans: how the levels are cut; None: as ``tile`` and ``memory`` say.
        observe: called with every piece of every level, before its logits go. Where memory runs out all levels begin
            again in smaller strips, and pixels that were given come a second time: keep what you see by its position,
            add nothing up.

    Raises:
        InputError: if memory runs out even in the smallest strips.
        ValueError: as `annotate_image` does.
    """
    started = time.perf_counter()
    budget = default_budget(backend.device) if memory is None else memory
    shape = _checked(image).shape
    plans = plan(backend, shape, tile, budget) if plans is None else plans
    ahead = _Ahead(progress)
    while True:
        try:
            labels, own = _label_maps(backend, image, intensity, plans, budget, ahead, levels, observe)
            break
        except (MemoryError, RuntimeError) as error:
            smaller = halved(backend, shape, plans)
            if not is_out_of_memory(error):
                raise
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
        ahead.again()
    return Annotation(
        labels=labels,
        level_labels=tuple(own),
        tile=tuple((p.rows, len(p.bands[0].core)) for p in plans),
        precision=backend.precision,
        backend=backend.name,
        device=str(backend.device),
        seconds=time.perf_counter() - started,
        factors=tuple(p.factor for p in plans),
    )


def _label_maps(
    backend: Backend,
    image: NDArray[np.uint8],
    intensity: Intensity,
    plans: Sequence[LevelPlan],
    budget: int,
    progress: Advance,
    levels: bool,
    observe: Callable[[LevelPiece], None] | None,
) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """The final map, and each level's own, coarse to fine, if they are asked for."""
    labels = np.empty(plans[-1].shape, np.uint8)
    own = [np.empty(p.shape, np.uint8) for p in plans] if levels else []
    for piece in level_pieces(backend, image, intensity, plans, progress, budget):
        if observe is not None:
            observe(piece)
        place = piece.rows, piece.cols
        if piece.merged is not None:
            labels[place] = class_ids(piece.merged).cpu().numpy()
        if levels:
            same = piece.merged is piece.logits  # as at a cascade's finest level
            own[piece.level][place] = labels[place] if same else class_ids(piece.logits).cpu().numpy()
    return labels, own


def class_ids(logits: Tensor) -> Tensor:
    """The class with the largest of the logits ``(C, H, W)``, the first of equals, ``(H, W)`` uint8.

    As ``argmax``, which takes ten times as long over a dimension that is not the last.
    """
    best, ids = logits[0].clone(), torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)
    for label in range(1, len(logits)):
        ids.masked_fill_(logits[label] > best, label)
        torch.maximum(best, logits[label], out=best)
    return ids


class _Ahead:
    """Progress that does not count again what is done a second time."""

    def __init__(self, progress: Advance | None) -> None:
        self._progress = progress
        self._told = self._done = 0.0

    def __call__(self, amount: float) -> None:
        self._done += amount
        if self._progress is not None and self._done > self._told:
            self._progress(self._done - self._told)
        self._told = max(self._told, self._done)

    def again(self) -> None:
        self._done = 0.0


def _checked(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if image.ndim != 2 or not image.size:
        raise ValueError(f"image has shape {image.shape}; expected (H, W) with H and W of 1 or more")
    return to_uint8(image)
