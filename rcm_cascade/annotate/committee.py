"""Several networks on one mosaic: their probabilities are averaged, and where they disagree counts as doubt."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate.backends import STRIP_SHARE, AnnotationOptions, Backend, default_budget
from rcm_cascade.annotate.engine import Annotation, LevelPiece, annotate_image, class_ids, entropy_bytes, tensor_on_disk
from rcm_cascade.data.intensity import Intensity
from rcm_cascade.progress import Advance

ROWS = 512
"""Of the mean probabilities, that are read at once."""


def annotate_by_all(
    members: Sequence[tuple[Backend, float]],
    image: NDArray[np.uint8],
    options: AnnotationOptions,
    *,
    intensity: Intensity,
    progress: Advance | None = None,
) -> Annotation:
    """Class of each pixel by the mean of several networks' probabilities, and the entropy of that mean.

    The sums of probabilities lie in memory or, where they would take what strips leave of the budget, in a temporary
    file.

    Args:
        members: networks of one class table and working grid, each with its temperature.
        image: ``(H, W)`` grey at the working pixel size.
        options: tile, memory, precision and backend, of each of them.
        intensity: of the whole mosaic.
        progress: as in `annotate_image`.

    Returns:
        As `annotate_image`, with entropy; tile, precision, backend and device are the first network's, time is that of
        all.

    Raises:
        InputError: as `annotate_image`.
    """
    first = members[0][0]
    shape = first.arguments.num_classes, *image.shape
    budget = default_budget(first.device) if options.memory is None else options.memory
    fits = int(np.prod(shape)) * torch.float32.itemsize <= (1 - STRIP_SHARE) * budget
    sums = torch.empty(shape) if fits else tensor_on_disk(shape, torch.float32)
    sums.zero_()
    found: list[Annotation] = []
    for backend, temperature in members:
        adder = _Adder(sums, temperature)
        part = None if progress is None else partial(_share, progress, len(members))
        found.append(annotate_image(backend, image, options, intensity=intensity, progress=part, observe=adder))
    labels, entropy = (np.empty(image.shape, np.uint8) for _ in range(2))
    for top in range(0, image.shape[0], ROWS):
        mean = sums[:, top : top + ROWS] / len(members)
        labels[top : top + ROWS] = class_ids(mean).numpy()
        entropy[top : top + ROWS] = entropy_bytes(mean.clamp_min_(1e-30).log_(), 1.0).numpy()
    return replace(found[0], labels=labels, entropy=entropy, seconds=sum(each.seconds for each in found))


class _Adder:
    """Adds a network's probabilities to those of others, each pixel once, though it may be given a second time."""

    def __init__(self, sums: torch.Tensor, temperature: float) -> None:
        self.sums, self.temperature = sums, temperature
        self.missing = torch.ones(sums.shape[1:], dtype=torch.bool)

    def __call__(self, piece: LevelPiece) -> None:
        if piece.merged is None:
            return
        place = piece.rows, piece.cols
        probabilities = (piece.merged.float() / self.temperature).softmax(dim=0).cpu()
        self.sums[:, *place] += probabilities * self.missing[place]
        self.missing[place] = False


def _share(progress: Advance, members: int, amount: float) -> None:
    progress(amount / members)
