"""Which part of each level a tile reads, and which it answers for: integers only, no arrays.

Tiled equals whole if and only if tiles start on the level's pooling grid, read their true neighbours as far as the
network reaches, and meet a border only where the padded mosaic ends. Two axes are independent, so everything here is
about one axis and `plan_levels` pairs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

PRIOR_MARGIN: Final = 1
"""Coarse px of the prior beyond a tile on each side: bilinear up-sampling by two looks at one neighbour."""

Shape = tuple[int, int]
"""Height and width in px."""


class Geometry(Protocol):
    """What must be known of a level: see `rcm_cascade.models.LevelGeometry`."""

    @property
    def factor(self) -> int:
        """Down-sampling of the mosaic at this level."""

    @property
    def alignment(self) -> int:
        """Tiles start on multiples of this many px of the level."""

    @property
    def halo(self) -> int:
        """Px of the level that a tile reads beyond each edge, a multiple of the alignment."""


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
class Tile:
    """One axis of a tile.

    Args:
        core: what the tile answers for, in px of its level.
        read: what the level's network sees, in px of its level; covers the core and its halo.
        prior: what of the coarser level's prediction is up-sampled, in px of that level: ``read`` and a margin.
    """

    core: Span
    read: Span
    prior: Span

    @property
    def upsampled(self) -> Span:
        """What the prior covers once up-sampled, in px of the tile's level."""
        return Span(2 * self.prior.start, 2 * self.prior.stop)


@dataclass(frozen=True)
class LevelPlan:
    """How one level is cut.

    Args:
        factor: down-sampling of the mosaic at this level.
        frame: the padded mosaic at this level, in px of the level.
        shape: the level's output: the mosaic without padding, rounded up.
        rows: tiles along the height, top to bottom.
        cols: tiles along the width, left to right.
    """

    factor: int
    frame: Shape
    shape: Shape
    rows: tuple[Tile, ...]
    cols: tuple[Tile, ...]

    @property
    def core_pixels(self) -> int:
        """Px that the level's tiles answer for."""
        return sum(len(t.core) for t in self.rows) * sum(len(t.core) for t in self.cols)

    @property
    def read_pixels(self) -> int:
        """Px that the level's network sees, halos included."""
        return sum(len(t.read) for t in self.rows) * sum(len(t.read) for t in self.cols)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is ≥ ``value``."""
    return -(-value // multiple) * multiple


def axis_tiles(size: int, frame: int, tile: int, alignment: int, halo: int) -> tuple[Tile, ...]:
    """Cuts one axis of a level.

    Args:
        size: px to answer for, ≥ 1: ``[0, size)``.
        frame: length of the padded axis, ≥ ``size``, a multiple of the alignment.
        tile: length of a core, a multiple of the alignment; the last core may be shorter.
        alignment: cores and reads start and reads end on multiples of it.
        halo: px read beyond the core on each side, a multiple of the alignment; less only at the frame's border.

    Raises:
        ValueError: if a length contradicts this.
    """
    if not 1 <= size <= frame:
        raise ValueError(f"size is {size} px in a frame of {frame} px; expected 1 or more, and no more than the frame")
    if tile < 1 or halo < 0 or tile % alignment or halo % alignment or frame % alignment:
        raise ValueError(f"tile {tile}, halo {halo} and frame {frame} px must be multiples of {alignment} px")
    tiles = []
    for start in range(0, size, tile):
        core = Span(start, min(start + tile, size))
        read = Span(start - halo, round_up(core.stop, alignment) + halo).clipped(frame)
        tiles.append(Tile(core, read, prior_span(read, frame)))
    return tuple(tiles)


def prior_span(read: Span, frame: int) -> Span:
    """What of the coarser level, whose frame is half as long, a read needs: itself and `PRIOR_MARGIN`."""
    wanted = Span(read.start // 2 - PRIOR_MARGIN, -(-read.stop // 2) + PRIOR_MARGIN)
    return wanted.clipped(-(-frame // 2))


def plan_levels(geometry: Sequence[Geometry], alignment: int, shape: Shape, tiles: Sequence[Shape]) -> list[LevelPlan]:
    """Cuts every level of a mosaic.

    Coarse levels cover the whole padded frame, because the next level's halo reads their prior there; the last one
    covers the mosaic alone.

    Args:
        geometry: of each level, coarse to fine.
        alignment: the mosaic is padded to a multiple of it, in px of the mosaic.
        shape: height and width of the mosaic.
        tiles: height and width of a core at each level, coarse to fine, multiples of the level's alignment.

    Raises:
        ValueError: as `axis_tiles` does.
    """
    plans = []
    for index, (level, tile) in enumerate(zip(geometry, tiles, strict=True)):
        frame, output = level_shapes(level, alignment, shape)
        covered = output if index == len(geometry) - 1 else frame
        rows, cols = (
            axis_tiles(covered[axis], frame[axis], tile[axis], level.alignment, level.halo) for axis in (0, 1)
        )
        plans.append(LevelPlan(level.factor, frame, output, rows, cols))
    return plans


def level_shapes(level: Geometry, alignment: int, shape: Shape) -> tuple[Shape, Shape]:
    """Frame and output of a level, in px of the level, for a mosaic ``shape`` padded to a multiple of ``alignment``."""
    height, width = shape
    frame = round_up(height, alignment) // level.factor, round_up(width, alignment) // level.factor
    return frame, (-(-height // level.factor), -(-width // level.factor))


def square_tiles(geometry: Sequence[Geometry], tile: int) -> list[Shape]:
    """The same square core at every level, in px of the level, rounded up to the level's alignment."""
    return [(round_up(tile, level.alignment),) * 2 for level in geometry]


def fitting_tiles(geometry: Sequence[Geometry], alignment: int, shape: Shape, max_read: int) -> list[Shape]:
    """The core at each level with the least recomputation among those that read at most ``max_read`` px at once.

    Tiles of one level are of nearly one size, so that no sliver is left at the end, and are longer along the axis where
    that saves more halo; a mosaic that fits is one tile.

    Args:
        geometry: of each level, coarse to fine.
        alignment: the mosaic is padded to a multiple of it, in px of the mosaic.
        shape: height and width of the mosaic.
        max_read: px of a level that a tile may read, halo included; a tile of one alignment block is always allowed.
    """
    tiles = []
    for level in geometry:
        frame, _ = level_shapes(level, alignment, shape)
        tiles.append(_fitting_tile(frame, level.alignment, level.halo, max_read))
    return tiles


def _fitting_tile(frame: Shape, alignment: int, halo: int, max_read: int) -> Shape:
    heights, widths = (_even_tiles(length, alignment, halo) for length in frame)
    best, least = (alignment, alignment), 0
    for height, (row_read, rows_read) in heights.items():
        for width, (col_read, cols_read) in widths.items():
            if row_read * col_read <= max_read and (not least or rows_read * cols_read < least):
                best, least = (height, width), rows_read * cols_read
    return best


def _even_tiles(frame: int, alignment: int, halo: int) -> dict[int, tuple[int, int]]:
    """Core length -> (longest read, sum of all reads), one for each number of tiles, longest core first."""
    found: dict[int, tuple[int, int]] = {}
    for count in range(1, frame // alignment + 1):
        tile = round_up(-(-frame // count), alignment)
        if tile not in found:
            reads = [len(t.read) for t in axis_tiles(frame, frame, tile, alignment, halo)]
            found[tile] = max(reads), sum(reads)
    return found
