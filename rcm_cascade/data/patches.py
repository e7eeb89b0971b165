"""Random patches of many mosaics: which windows an epoch visits, in which order, and what is read there."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.augment import Augmentation, Parameters, scalar, unchanged
from rcm_cascade.data.counting import count_values
from rcm_cascade.data.mosaic import Mosaic, labels_of
from rcm_cascade.data.windows import PatchGeometry, draw_position, read_square, window_grid
from rcm_cascade.errors import InputError

Sampling = Literal["grid", "balanced"]
"""``grid``: each window once an epoch, as in the paper; ``balanced``: as many draws, each for a class drawn evenly."""


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


class PatchDataset(Dataset[Sample]):
    """One random patch for each `SampleKey`.

    Position and augmentation are drawn from ``(seed, epoch, sample)`` alone, so neither workers nor ranks nor batches
    nor a resumed run can change them. A patch without a labelled pixel is not drawn: windows without one are left out,
    and within a window the position is drawn among the patches that hold one.

    Args:
        mosaics: labelled mosaics on the working grid.
        geometry: window, stride, patch in px.
        augmentation: what to draw for each sample; None: nothing is changed.
        num_classes: C.
        seed: of the run; 0 is a seed.
        sampling: which windows an epoch visits.

    Raises:
        InputError: if no mosaic has a labelled pixel.
    """

    def __init__(
        self,
        mosaics: Sequence[Mosaic],
        geometry: PatchGeometry,
        augmentation: Augmentation | None,
        num_classes: int,
        seed: int,
        sampling: Sampling = "grid",
    ) -> None:
        self.mosaics = list(mosaics)
        self.geometry = geometry
        self.augmentation = augmentation
        self.seed = seed
        self.sampling = sampling
        self.read_side = augmentation.read_side(geometry.patch) if augmentation else geometry.patch
        self.windows, held = labelled_windows(self.mosaics, geometry, num_classes)
        if not len(self.windows):
            raise InputError("no training mosaic has a labelled pixel; check that label maps hold class ids, not 255")
        self.windows_of_class = [np.flatnonzero(held[:, c]) for c in range(num_classes)]

    def __len__(self) -> int:
        """Samples an epoch."""
        return len(self.windows)

    def __getitem__(self, key: SampleKey) -> Sample:
        """Reads the sample that ``(epoch, sample)`` names."""
        rng = np.random.default_rng([self.seed, key.epoch, key.sample])
        index, wanted_class = self._choose(rng, key.sample)
        m, window = int(self.windows[index, 0]), self.windows[index, 1:]
        mosaic = self.mosaics[m]
        labels = np.asarray(labels_of(mosaic))  # slicing a memory map as such takes four times as long
        y0, x0, y1, x1 = window.tolist()
        inside = labels[y0:y1, x0:x1]
        wanted = inside != UNLABELLED if wanted_class is None else inside == wanted_class
        patch = self.geometry.patch
        top, left = draw_position(rng, window, patch, wanted)
        margin = (self.read_side - patch) // 2
        truth = torch.from_numpy(read_square(labels, top - margin, left - margin, self.read_side, UNLABELLED))
        return Sample(
            image=torch.from_numpy(read_square(mosaic.image, top - margin, left - margin, self.read_side, None)),
            labels=torch.full_like(truth, UNLABELLED) if key.blank else truth,
            augment=self.augmentation.draw(rng) if self.augmentation else unchanged(),
            offset=scalar(mosaic.intensity.offset),
            scale=scalar(mosaic.intensity.scale),
            place=torch.from_numpy(np.array([-1 if key.blank else m, top, left])),
        )

    def _choose(self, rng: np.random.Generator, index: int) -> tuple[int, int | None]:
        """The window of a sample and, in balanced drawing, the class that its patch must hold."""
        if self.sampling == "grid":
            return index, None
        present = [c for c, windows in enumerate(self.windows_of_class) if len(windows)]
        wanted = int(rng.choice(present))
        return int(rng.choice(self.windows_of_class[wanted])), wanted


def labelled_windows(
    mosaics: Sequence[Mosaic], geometry: PatchGeometry, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows that hold a labelled pixel, ``(N, 5)``: mosaic, top, left, bottom, right; and `count_classes` of each.

    Raises:
        ValueError: if a mosaic is not labelled.
    """
    tables, counts = [np.zeros((0, 5), np.int64)], [np.zeros((0, num_classes), np.int64)]
    for m, mosaic in enumerate(mosaics):
        grid = window_grid(mosaic.image.shape, geometry)
        held = count_classes(labels_of(mosaic), grid, num_classes)
        keep = held.sum(axis=1) > 0
        tables.append(np.insert(grid[keep], 0, m, axis=1))
        counts.append(held[keep])
    return np.concatenate(tables), np.concatenate(counts)


def count_classes(labels: NDArray[np.uint8], windows: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Pixels of each class in each window.

    Every pixel is looked at once: the windows' edges cut the map into blocks, whose counts are then added up.

    Args:
        labels: ``(H, W)`` uint8.
        windows: ``(N, 4)``: top, left, bottom, right.
        num_classes: C.

    Returns:
        ``(N, C)`` int64.
    """
    labels = np.asarray(labels)  # not a memory map, whose slices are slow
    rows, columns = np.unique(windows[:, ::2]), np.unique(windows[:, 1::2])
    sums = np.zeros((len(rows), len(columns), num_classes), np.int64)
    for i, (y0, y1) in enumerate(pairwise(rows.tolist()), 1):
        for j, (x0, x1) in enumerate(pairwise(columns.tolist()), 1):
            sums[i, j] = count_values(labels[y0:y1, x0:x1])[:num_classes]
    sums = sums.cumsum(axis=0).cumsum(axis=1)
    top, bottom = np.searchsorted(rows, windows[:, ::2].T)
    left, right = np.searchsorted(columns, windows[:, 1::2].T)
    counts: NDArray[np.int64] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return counts


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
