"""What is read of many mosaics: random patches, of which windows and in which order, and fixed validation regions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.augment import Augmentation, Parameters, scalar, unchanged
from rcm_cascade.data.intensity import count_values
from rcm_cascade.data.mosaic import Mosaic, labels_of
from rcm_cascade.data.windows import PatchGeometry, draw_position, read_square, window_grid
from rcm_cascade.errors import InputError

Sampling = Literal["grid", "balanced"]
"""``grid``: each window once an epoch, as in the paper; ``balanced``: as many draws, each for a class drawn evenly."""


BLANK: Final = -1
"""The number of a validation region without labels."""


class SampleKey(NamedTuple):
    """Names one sample of a run; with the seed it determines everything random about it.

    Args:
        epoch: from 0.
        sample: its number within the epoch.
        blank: if true, its labels count nowhere: what a rank takes that has none left while others have.
    """

    epoch: int
    sample: int
    blank: bool = False


class Sample(TypedDict):
    """A patch as read, before augmentation. A batch holds the same keys with a leading axis B."""

    image: Tensor  # (S, S) uint8 grey levels, wider than the patch
    labels: Tensor  # (S, S) uint8
    augment: Parameters
    offset: Tensor  # () float32, of the mosaic's Intensity
    scale: Tensor  # () float32
    place: Tensor  # (3,) int64: mosaic's index, -1 of a blank one; the patch's top and left in px


@dataclass(frozen=True)
class LoadingArguments:
    """How patches are drawn and batched.

    Args:
        geometry: window, stride and patch in px of the working grid.
        augmentation: what is changed at random; None: nothing.
        sampling: each window once an epoch, or balanced over classes.
        batch_size: patches in a batch of each process.
        num_workers: loading processes; None: none on a CPU, where they would take the network's cores, else 8 at most,
            or this process's share of the machine's cores.
        seed: of the run.
        region_side: side in px of the fixed validation regions.
        max_regions: at most so many; None: as many as a tenth of the training time allows.
        steps_per_epoch: at most so many batches an epoch; None: all.
        on_gpu: whether batches are sent to a GPU.
    """

    geometry: PatchGeometry
    augmentation: Augmentation | None
    sampling: Sampling = "grid"
    batch_size: int = 16
    num_workers: int | None = None
    seed: int = 0
    region_side: int = 256
    max_regions: int | None = None
    steps_per_epoch: int | None = None
    on_gpu: bool = False


class PatchDataset(Dataset[Sample]):
    """One random patch for each `SampleKey`.

    Position and augmentation are drawn from ``(seed, epoch, sample)`` alone, so neither workers nor ranks nor batches
    nor a resumed run can change them. A patch without a labelled pixel is not drawn: windows without one are left out,
    and within a window the position is drawn among the patches that hold one.

    Args:
        mosaics: labelled mosaics on the working grid.
        num_classes: C.
        arguments: how patches are drawn.

    Raises:
        InputError: if no mosaic has a labelled pixel.
    """

    def __init__(self, mosaics: Sequence[Mosaic], num_classes: int, arguments: LoadingArguments) -> None:
        self.mosaics, self.arguments = list(mosaics), arguments
        patch, augmentation = arguments.geometry.patch, arguments.augmentation
        self.read_side = augmentation.read_side(patch) if augmentation else patch
        self.windows, held = labelled_windows(self.mosaics, arguments.geometry, num_classes)
        if not len(self.windows):
            raise InputError("no training mosaic has a labelled pixel; check that label maps hold class ids, not 255")
        self.windows_of_class = [np.flatnonzero(held[:, c]) for c in range(num_classes)]
        self.present = np.flatnonzero(held.any(axis=0))

    def __len__(self) -> int:
        """Samples an epoch."""
        return len(self.windows)

    def place(self, key: SampleKey) -> tuple[int, int, int, np.random.Generator]:
        """Where a sample's patch lies, without reading it: mosaic's index, top, left; and what else to draw from."""
        arguments, index, wanted_class = self.arguments, key.sample, None
        rng = np.random.default_rng([arguments.seed, key.epoch, key.sample])
        if arguments.sampling == "balanced":
            wanted_class = int(rng.choice(self.present))
            index = int(rng.choice(self.windows_of_class[wanted_class]))
        m, window = int(self.windows[index, 0]), self.windows[index, 1:]
        y0, x0, y1, x1 = window.tolist()
        inside = np.asarray(labels_of(self.mosaics[m]))[y0:y1, x0:x1]  # slices of a memory map take four times as long
        wanted = inside != UNLABELLED if wanted_class is None else inside == wanted_class
        return m, *draw_position(rng, window, arguments.geometry.patch, wanted), rng

    def __getitem__(self, key: SampleKey) -> Sample:
        """Reads the sample that ``(epoch, sample)`` names."""
        arguments = self.arguments
        m, top, left, rng = self.place(key)
        margin = (self.read_side - arguments.geometry.patch) // 2
        parameters = arguments.augmentation.draw(rng) if arguments.augmentation else unchanged()
        return _read_sample(self.mosaics, (m, top, left), self.read_side, margin, parameters, key.blank)


def _read_sample(
    mosaics: Sequence[Mosaic], place: tuple[int, int, int], side: int, margin: int, parameters: Parameters, blank: bool
) -> Sample:
    """What lies at a place (mosaic's index, top, left) and ``margin`` px around it; if blank, without its labels."""
    m, top, left = place
    mosaic = mosaics[m]
    labels = torch.from_numpy(read_square(labels_of(mosaic), top - margin, left - margin, side, UNLABELLED))
    return Sample(
        image=torch.from_numpy(read_square(mosaic.image, top - margin, left - margin, side, None)),
        labels=torch.full_like(labels, UNLABELLED) if blank else labels,
        augment=parameters,
        offset=scalar(mosaic.intensity.offset),
        scale=scalar(mosaic.intensity.scale),
        place=torch.from_numpy(np.array([-1 if blank else m, top, left])),
    )


def labelled_windows(
    mosaics: Sequence[Mosaic], geometry: PatchGeometry, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows that hold a labelled pixel, ``(N, 5)``: mosaic, top, left, bottom, right; and `count_classes` of each.

    Raises:
        ValueError: if a mosaic is not labelled.
    """
    tables = [np.zeros((0, 5 + num_classes), np.int64)]
    for m, mosaic in enumerate(mosaics):
        grid = window_grid(mosaic.image.shape, geometry)
        held = count_classes(labels_of(mosaic), grid, num_classes)
        tables.append(np.insert(np.hstack([grid, held])[held.any(axis=1)], 0, m, axis=1))
    table = np.concatenate(tables)
    return table[:, :5], table[:, 5:]


def count_classes(labels: NDArray[np.uint8], windows: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class in each window.

    Args:
        labels: ``(H, W)`` uint8.
        windows: ``(N, 4)``: top, left, bottom, right.
        num_classes: C.

    Returns:
        ``(N, C)`` int64.
    """
    counts = [count_values(labels[y0:y1, x0:x1])[:num_classes] for y0, x0, y1, x1 in windows.tolist()]
    return np.array(counts, np.int64).reshape(-1, num_classes)


class EpochSampler(Sampler[SampleKey]):
    """All samples of an epoch, each once, in an order drawn from (seed, epoch) and shared out among ranks.

    Step for step the ranks together take what one process with ``ranks`` times the batch would take. In the last step
    some ranks may have a sample fewer; one that has none takes a blank one, so that all take as many steps.

    Args:
        samples: number of samples an epoch.
        seed: of the run.
        rank: of this process.
        ranks: number of processes.
        batch_size: of each process; of no effect with one.
    """

    def __init__(self, samples: int, seed: int, rank: int = 0, ranks: int = 1, batch_size: int = 1) -> None:
        self.samples, self.seed, self.rank, self.ranks, self.batch_size = samples, seed, rank, ranks, batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        steps, rest = divmod(self.samples, self.batch_size * self.ranks)
        return steps * self.batch_size + (max(1, len(range(self.rank, rest, self.ranks))) if rest else 0)

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.samples)
        own = [SampleKey(self.epoch, int(i)) for i in order[self.rank :: self.ranks]]
        blank = [SampleKey(self.epoch, 0, blank=True)] * (len(self) - len(own))
        return iter(own + blank)


class RegionDataset(Dataset[Sample]):
    """Fixed regions, as samples that change nothing, chosen such that every class is seen if the mosaics hold it.

    Classes take turns; each takes the region with most of its pixels, as a share of what the class has already, among
    those left. Nothing is random.

    Args:
        mosaics: labelled mosaics.
        side: of a region in px; where it reaches beyond a mosaic, the image is continued and nothing is labelled.
        count: how many to choose, if there are as many with a labelled pixel.
        num_classes: C.
    """

    def __init__(self, mosaics: Sequence[Mosaic], side: int, count: int, num_classes: int) -> None:
        self.mosaics, self.side = list(mosaics), side
        windows, held = labelled_windows(mosaics, PatchGeometry(side, side, side), num_classes)
        left = np.ones(len(windows), bool)
        taken = np.zeros(num_classes, np.int64)
        for _ in range(min(count, len(windows))):
            available = (held[left] > 0).any(axis=0)
            wanted = int(np.argmin(np.where(available, taken, np.iinfo(np.int64).max)))
            best = int(np.argmax(np.where(left, held[:, wanted], -1)))
            left[best] = False
            taken += held[best]
        self.regions = [(m, y, x) for m, y, x in windows[~left, :3].tolist()]

    def __len__(self) -> int:
        return len(self.regions)

    def order(self, rank: int, ranks: int) -> list[int]:
        """The regions of one of several processes, in their order; `BLANK` where others have one more."""
        own = list(range(rank, len(self), ranks))
        return own + [BLANK] * (-(-len(self) // ranks) - len(own))

    def __getitem__(self, index: int) -> Sample:
        """The region of that number; of `BLANK`, the first, as if nothing were labelled."""
        return _read_sample(self.mosaics, self.regions[max(index, 0)], self.side, 0, unchanged(), index == BLANK)
