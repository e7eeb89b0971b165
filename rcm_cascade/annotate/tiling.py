"""Which part of each level is read when, and what it answers for: integers only, no arrays.

A level is cut into bands of columns, and a band is read strip by strip from the top. It equals one pass over the whole
if and only if bands start on the level's pooling grid, read their true neighbours as far as the network reaches, and
meet a border only where the padded mosaic ends. Strips that keep their rows (`rcm_cascade.annotate.cpu.strips`) need no
halo above and below.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rcm_cascade.models.registry import LevelGeometry

PRIOR_MARGIN: Final = 1
"""Coarse px of the prior beyond what is read, on each side: bilinear up-sampling by two looks at one neighbour."""

LEAST_ROWS: Final = (112, 32)
"""Bands are made narrower before strips get lower than this, one at a time and several. Measured: rows of 3,000 px fall
out of the cache between one convolution and the next, which costs more than the halo of a second band."""

MOST_ROWS: Final = 48
"""Of strips that run several at a time: higher ones are not faster, and take more memory."""

WORTH_CUTTING: Final = 25
"""Halos that a level is wide at least, for it to be cut into bands that run at a time: a halo more costs less then."""

Shape = tuple[int, int]
"""Height and width in px."""


@dataclass(frozen=True)
class Span:
    """The pixels ``start … stop - 1`` of one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def clipped(self, stop: int) -> "Span":
        """The part inside ``[0, stop)``; of length 0 if there is none."""
        start = min(max(self.start, 0), stop)
        return Span(start, max(start, min(self.stop, stop)))

    def within(self, outer: "Span") -> slice:
        """Where this span lies in an array that holds ``outer``."""
        return slice(self.start - outer.start, self.stop - outer.start)


@dataclass(frozen=True)
class Band:
    """A band of columns, in px of its level.

    Args:
        read: what the level's network sees: the core and its halo.
        core: what the band answers for.
    """

    read: Span
    core: Span


@dataclass(frozen=True)
class LevelPlan:
    """How one level is cut.

    Args:
        factor: down-sampling of the mosaic at this level.
        alignment: of bands and strips, in px of the level.
        frame: the padded mosaic at this level, in px of the level.
        shape: the level's output: the mosaic without padding, rounded up.
        covered: what the bands answer for.
        bands: left to right.
        rows: of a strip.
    """

    factor: int
    alignment: int
    frame: Shape
    shape: Shape
    covered: Shape
    bands: tuple[Band, ...]
    rows: int

    def strips(self, delay: int) -> Iterator[Span]:
        """Rows to feed, top to bottom, until all that are covered have come out; the last ones lie below the frame.

        All strips are equally high, since a graph is compiled for each height.

        Args:
            delay: rows by which the output lags behind.
        """
        for start in range(0, self.covered[0] + delay, self.rows):
            yield Span(start, start + self.rows)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is ≥ ``value``."""
    return -(-value // multiple) * multiple


def cut_bands(size: int, frame: int, width: int, alignment: int, halo: int) -> tuple[Band, ...]:
    """Cuts the columns of a level into bands that read equally many, since a graph is compiled for each width.

    Args:
        size: px to answer for, ≥ 1: ``[0, size)``.
        frame: width of the padded mosaic, ≥ ``size``, a multiple of the alignment.
        width: of a core, a multiple of the alignment; that of the first and last is wider by the halo that they lack at
            the frame's border, or as much narrower as is left.
        alignment: cores and reads start and reads end on multiples of it.
        halo: px read beyond the core on each side, a multiple of the alignment; less only at the frame's border.
    """
    read_width = min(width + 2 * halo, frame)
    bands: list[Band] = []
    start = 0
    while start < size:
        left = min(max(start - halo, 0), frame - read_width)
        read = Span(left, left + read_width)
        stop = size if read.stop == frame else min(read.stop - halo, size)
        bands.append(Band(read, Span(start, stop)))
        start = stop
    return tuple(bands)


def prior_span(read: Span, size: int) -> Span:
    """What of the coarser level, whose frame has ``size`` px, up-sampling a read needs: itself and `PRIOR_MARGIN`."""
    return Span(read.start // 2 - PRIOR_MARGIN, -(-read.stop // 2) + PRIOR_MARGIN).clipped(size)


def plan_levels(
    geometry: Sequence[LevelGeometry], alignment: int, shape: Shape, cuts: Sequence[Shape]
) -> list[LevelPlan]:
    """Cuts every level of a mosaic.

    Coarse levels cover the whole padded frame, because the next level's halo reads their prior there; the last one
    covers the mosaic alone.

    Args:
        geometry: of each level, coarse to fine.
        alignment: the mosaic is padded to a multiple of it, in px of the mosaic.
        shape: height and width of the mosaic.
        cuts: height of a strip and width of a band's core at each level, coarse to fine, multiples of the level's
            alignment; strips are no higher than what there is to read.
    """
    plans = []
    for index, (level, (rows, width)) in enumerate(zip(geometry, cuts, strict=True)):
        frame, output = level_shapes(level, alignment, shape)
        covered = output if index == len(geometry) - 1 else frame
        bands = cut_bands(covered[1], frame[1], width, level.alignment, level.halo)
        highest = round_up(covered[0] + level.halo, level.alignment)
        plans.append(LevelPlan(level.factor, level.alignment, frame, output, covered, bands, min(rows, highest)))
    return plans


def level_shapes(level: LevelGeometry, alignment: int, shape: Shape) -> tuple[Shape, Shape]:
    """Frame and output of a level, in px of the level, for a mosaic ``shape`` padded to a multiple of ``alignment``."""
    height, width = shape
    frame = round_up(height, alignment) // level.factor, round_up(width, alignment) // level.factor
    return frame, (-(-height // level.factor), -(-width // level.factor))


def square_cuts(geometry: Sequence[LevelGeometry], side: int) -> list[Shape]:
    """Strips as high as bands are wide, in px of each level, rounded up to the level's alignment."""
    return [(round_up(side, level.alignment),) * 2 for level in geometry]


def fitting_cuts(
    geometry: Sequence[LevelGeometry], alignment: int, shape: Shape, pixels: int, streams: int = 1
) -> list[Shape]:
    """The widest bands, in strips of at most ``pixels`` px that are `LEAST_ROWS` high at least.

    Bands of one level are of nearly one width, so that no sliver is left at the end.

    Args:
        geometry: of each level, coarse to fine.
        alignment: the mosaic is padded to a multiple of it, in px of the mosaic.
        shape: height and width of the mosaic.
        pixels: of the strips at one time, halo included; a strip of one alignment block and its halo is always allowed.
        streams: bands at a time, of which there are then a multiple, unless the level is so narrow that it is one band.
    """
    cuts = []
    for level in geometry:
        frame, _ = level_shapes(level, alignment, shape)
        step = streams if frame[1] >= WORTH_CUTTING * level.halo else 1
        count = step
        widest = max(pixels // step // LEAST_ROWS[step > 1], level.alignment + 2 * level.halo)
        while True:
            read = round_up(-(-(frame[1] + 2 * (count - 1) * level.halo) // count), level.alignment)
            width = frame[1] if count == 1 else max(read - 2 * level.halo, level.alignment)
            if read <= widest or width == level.alignment:
                break
            count += step
        read = min(width + 2 * level.halo, frame[1])
        most = pixels // step // read if step == 1 else min(pixels // step // read, MOST_ROWS)
        rows = max(most // level.alignment, 1) * level.alignment
        height = frame[0] + level.halo
        even = -(-height // -(-height // rows))  # as many strips, and little left over
        cuts.append((round_up(even, level.alignment), width))
    return cuts
