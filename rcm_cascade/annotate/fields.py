"""A mosaic by fields of 0.5 mm, as readers see it: patterns and how sure the network is of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.classes import UNLABELLED, ClassTable

FIELD_UM: Final = 500.0
"""The side of what the microscope shows at once."""

FIELD_PX: Final = 500
"""The side where the pixel size is not known."""

ARTIFACT: Final = "artifact"
"""The class of what says nothing of the tissue."""

NO_PATTERN: Final = ("non-lesion", ARTIFACT)
"""Classes that are no pattern of a lesion."""

IRREGULAR: Final = 3
"""Patterns among a field and its eight neighbours, from which on its surroundings count as irregular."""


@dataclass(frozen=True, eq=False)
class Fields:
    """Squares that cover a mosaic from its upper left corner; those at the lower and right border may be cut off.

    Args:
        tops: first row of each row of fields, and the mosaic's height, ``(R + 1,)``.
        lefts: first column of each column of fields, and the mosaic's width, ``(C + 1,)``.
        pixels: by class id, ``(R, C, 256)`` int64; their sums are the mosaic's.
        entropy: mean over the field's pixels, ``(R, C)`` in ``[0, 1]``; None: not known.
    """

    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    pixels: NDArray[np.int64]
    entropy: NDArray[np.float64] | None

    @property
    def dominant(self) -> NDArray[np.int64]:
        """The class id of most pixels, the first of equals, ``(R, C)``."""
        most: NDArray[np.int64] = self.pixels.argmax(axis=2)
        return most

    @property
    def areas(self) -> NDArray[np.int64]:
        """Of each field in px, ``(R, C)``."""
        areas: NDArray[np.int64] = self.pixels.sum(axis=2)
        return areas

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether a pixel of the field has a class, ``(R, C)``."""
        some: NDArray[np.bool_] = self.pixels[..., :UNLABELLED].sum(axis=2) > 0
        return some

    def patterns_around(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """How many of some classes dominate a field among each one and its eight neighbours, ``(R, C)``."""
        padded = np.pad(self.dominant, 1, constant_values=-1)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        counts = np.zeros(self.dominant.shape, np.int64)
        for label in ids:
            counts += (around == label).any(axis=(2, 3))
        return counts

    def worth_labelling(
        self, count: int, classes: int, labelled: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, int]]:
        """Fields of which the network is least sure, in turn from those that each class dominates.

        Args:
            count: how many at most.
            classes: of the class table.
            labelled: fields that are left out, ``(R, C)``; None: none.

        Returns:
            Row and column of each; only fields of at least half the full size.
        """
        if self.entropy is None:
            return []
        whole = self.areas >= self.areas.max() / 2
        if labelled is not None:
            whole &= ~labelled
        queues = []
        for label in range(classes):
            at = np.argwhere(whole & (self.dominant == label))
            order = np.argsort([-self.entropy[row, col] for row, col in at], kind="stable")
            queues.append([(int(at[i][0]), int(at[i][1])) for i in order])
        turns = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
        return turns[:count]


def pattern_ids(classes: ClassTable) -> list[int]:
    """Ids of the patterns that a lesion may show; of tables without the names of `NO_PATTERN`, of all classes."""
    return [c.id for c in classes.classes if c.name not in NO_PATTERN]


def count_fields(
    labels: NDArray[np.uint8], pixel_size_um: float | None, entropy: NDArray[np.uint8] | None = None
) -> Fields:
    """Counts a label map ``(H, W)`` by field.

    Args:
        labels: class ids.
        pixel_size_um: µm per px; None: a field is `FIELD_PX` wide.
        entropy: ``(H, W)``, 255 being the highest there is; None: not known.
    """
    side = FIELD_PX if pixel_size_um is None else FIELD_UM / pixel_size_um
    tops, lefts = (_edges(size, side) for size in labels.shape)
    across, columns = np.repeat(np.arange(len(lefts) - 1), np.diff(lefts)) * 256, len(lefts) - 1
    pixels = np.empty((len(tops) - 1, columns, 256), np.int64)
    sums = np.zeros((len(tops) - 1, columns))
    for row, (top, bottom) in enumerate(pairwise(tops)):
        counted = np.bincount((labels[top:bottom] + across).ravel(), minlength=columns * 256)
        pixels[row] = counted.reshape(columns, 256)
        if entropy is not None:
            sums[row] = np.add.reduceat(entropy[top:bottom].sum(axis=0, dtype=np.int64), lefts[:-1])
    mean = None if entropy is None else sums / pixels.sum(axis=2) / 255
    return Fields(tops, lefts, pixels, mean)


def _edges(size: int, side: float) -> NDArray[np.int64]:
    """Where fields begin, and where the last one ends."""
    starts = np.round(np.arange(0, size, max(side, 1.0))).astype(np.int64)
    return np.append(starts[starts < size], size)
