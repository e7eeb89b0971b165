"""The fixed regions that every validation looks at."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.augment import scalar, unchanged
from rcm_cascade.data.mosaic import Mosaic, labels_of
from rcm_cascade.data.patches import Sample, labelled_windows
from rcm_cascade.data.windows import PatchGeometry, read_square

BLANK: Final = -1
"""The number of a region without labels."""


class ValidationRegion(NamedTuple):
    """A square of one mosaic, by its top left corner in px."""

    mosaic: int
    top: int
    left: int


def validation_regions(mosaics: Sequence[Mosaic], side: int, count: int, num_classes: int) -> list[ValidationRegion]:
    """Chooses regions such that every class is seen, as long as the mosaics hold it.

    Classes take turns; each takes the region with most of its pixels, as a share of what the class has already, among
    those left. Nothing is random.

    Args:
        mosaics: labelled mosaics.
        side: of a region in px.
        count: how many to choose, if there are as many with a labelled pixel.
        num_classes: C.
    """
    windows, held = labelled_windows(mosaics, PatchGeometry(side, side, side), num_classes)
    regions = [ValidationRegion(*window) for window in windows[:, :3].tolist()]
    left = np.ones(len(regions), bool)
    chosen: list[int] = []
    taken = np.zeros(num_classes, np.int64)
    while len(chosen) < min(count, len(regions)):
        available = (held[left] > 0).any(axis=0)
        wanted = int(np.argmin(np.where(available, taken, np.iinfo(np.int64).max)))
        best = int(np.argmax(np.where(left, held[:, wanted], -1)))
        left[best] = False
        chosen.append(best)
        taken += held[best]
    return [regions[k] for k in sorted(chosen)]


class RegionDataset(Dataset[Sample]):
    """Regions as samples that change nothing.

    Args:
        mosaics: labelled mosaics.
        regions: which squares of them.
        side: of a region in px; where it reaches beyond a mosaic, the image is continued and nothing is labelled.
    """

    def __init__(self, mosaics: Sequence[Mosaic], regions: Sequence[ValidationRegion], side: int) -> None:
        self.mosaics, self.regions, self.side = list(mosaics), list(regions), side

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, index: int) -> Sample:
        """The region of that number; of `BLANK`, the first, as if nothing were labelled."""
        m, top, left = self.regions[max(index, 0)]
        mosaic = self.mosaics[m]
        labels = torch.from_numpy(read_square(labels_of(mosaic), top, left, self.side, UNLABELLED))
        return Sample(
            image=torch.from_numpy(read_square(mosaic.image, top, left, self.side, None)),
            labels=torch.full_like(labels, UNLABELLED) if index == BLANK else labels,
            augment=unchanged(),
            offset=scalar(mosaic.intensity.offset),
            scale=scalar(mosaic.intensity.scale),
            place=torch.tensor([m, top, left]),
        )
