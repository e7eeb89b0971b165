from itertools import pairwise, product
from typing import Any

import pytest

from rcm_cascade.annotate.tiling import (
    Span,
    axis_tiles,
    fitting_tiles,
    level_shapes,
    plan_levels,
    prior_span,
    round_up,
    square_tiles,
)
from rcm_cascade.models import CascadeArguments

PAPER = CascadeArguments()
CASCADES = (
    PAPER,
    CascadeArguments(levels=1),
    CascadeArguments(levels=2, base_depth=3),
    CascadeArguments(depth_increment=0),
    CascadeArguments(base_depth=4, depth_increment=-1),
)
SHAPES = ((1, 1), (1, 700), (15, 16), (17, 33), (127, 129), (700, 900))

AXES = [
    (size, round_up(size, 16) + extra, tile, alignment, halo)
    for size, extra, tile, (alignment, halo) in product(
        (1, 15, 16, 17, 63, 64, 65, 200), (0, 16), (16, 64), ((4, 24), (8, 0), (16, 96))
    )
]


@pytest.mark.parametrize(("size", "frame", "tile", "alignment", "halo"), AXES)
def test_cores_cover_the_axis_once_and_reads_hold_the_halo(
    size: int, frame: int, tile: int, alignment: int, halo: int
) -> None:
    tiles = axis_tiles(size, frame, tile, alignment, halo)

    assert [p for t in tiles for p in range(t.core.start, t.core.stop)] == list(range(size))
    for t in tiles:
        assert t.core.start % alignment == t.read.start % alignment == t.read.stop % alignment == 0
        assert 0 <= t.read.start <= t.core.start < t.core.stop <= t.read.stop <= frame
        assert t.core.start - t.read.start == min(halo, t.core.start)
        assert t.read.stop >= min(frame, t.core.stop + halo)
        assert len(t.core) <= tile


@pytest.mark.parametrize(("size", "frame", "tile", "alignment", "halo"), AXES)
def test_priors_hold_every_neighbour_that_upsampling_looks_at(
    size: int, frame: int, tile: int, alignment: int, halo: int
) -> None:
    for t in axis_tiles(size, frame, tile, alignment, halo):
        for pixel in (t.read.start, t.read.stop - 1):
            # bilinear by two, align_corners=False: source position (pixel + 0.5) / 2 - 0.5, between two coarse pixels
            below = (pixel - 1) // 2
            for neighbour in (below, below + 1):
                if 0 <= neighbour < frame // 2:
                    assert t.prior.start <= neighbour < t.prior.stop
        assert 0 <= t.prior.start < t.prior.stop <= frame // 2
        assert len(t.prior) <= len(t.read) // 2 + 2
        assert t.upsampled == Span(2 * t.prior.start, 2 * t.prior.stop)


def test_prior_of_an_unaligned_read_is_rounded_outwards() -> None:
    assert prior_span(Span(9, 21), 64) == Span(3, 12)


@pytest.mark.parametrize(("arguments", "shape"), list(product(CASCADES, SHAPES)))
@pytest.mark.parametrize("tile", [1, 64, None])
def test_coarse_levels_cover_the_frame_and_the_last_one_the_mosaic(
    arguments: CascadeArguments, shape: tuple[int, int], tile: int | None
) -> None:
    geometry, alignment = arguments.geometry, arguments.alignment
    sizes = fitting_tiles(geometry, alignment, shape, 2**16) if tile is None else square_tiles(geometry, tile)
    plans = plan_levels(geometry, alignment, shape, sizes)

    for level, plan, size in zip(geometry, plans, sizes, strict=True):
        for axis, tiles in enumerate((plan.rows, plan.cols)):
            assert plan.frame[axis] * level.factor == round_up(shape[axis], alignment)
            assert plan.shape[axis] == -(-shape[axis] // level.factor)
            assert tiles[-1].core.stop == (shape[axis] if plan is plans[-1] else plan.frame[axis])
            assert size[axis] % level.alignment == 0
            assert plan.frame[axis] % level.alignment == 0
    for coarse, fine in pairwise(plans):
        assert fine.frame == (2 * coarse.frame[0], 2 * coarse.frame[1])


def test_the_paper_s_form_on_a_small_mosaic() -> None:
    coarse, _, fine = plan_levels(PAPER.geometry, PAPER.alignment, (300, 20), square_tiles(PAPER.geometry, 30))

    assert (coarse.frame, coarse.shape) == ((76, 8), (75, 5))
    assert [t.core for t in coarse.rows] == [Span(0, 32), Span(32, 64), Span(64, 76)]
    assert [t.read for t in coarse.rows] == [Span(0, 56), Span(8, 76), Span(40, 76)]
    assert [t.core for t in fine.rows][-1] == Span(288, 300)
    assert fine.rows[5].read == Span(64, 288)
    assert fine.rows[5].prior == Span(31, 145)
    assert fine.read_pixels == sum(len(t.read) for t in fine.rows) * 32
    assert fine.core_pixels == 300 * 20


def test_a_tile_is_rounded_up_to_each_level_s_alignment() -> None:
    assert square_tiles(PAPER.geometry, 50) == [(52, 52), (56, 56), (64, 64)]


@pytest.mark.parametrize("shape", [(1, 1), (90, 100), (700, 900), (4000, 6000), (40, 9000)])
@pytest.mark.parametrize("max_read", [2**18, 2**20])
def test_fitting_tiles_read_no_more_than_allowed_and_leave_no_sliver(shape: tuple[int, int], max_read: int) -> None:
    sizes = fitting_tiles(PAPER.geometry, PAPER.alignment, shape, max_read)
    plans = plan_levels(PAPER.geometry, PAPER.alignment, shape, sizes)

    for level, plan in zip(PAPER.geometry, plans, strict=True):
        assert max(len(t.read) for t in plan.rows) * max(len(t.read) for t in plan.cols) <= max_read
        if plan.frame[0] * plan.frame[1] <= max_read:
            assert (len(plan.rows), len(plan.cols)) == (1, 1)
        for tiles in (plan.rows, plan.cols):
            slack = level.alignment * len(tiles)
            assert len(tiles[0].core) - len(tiles[-1].core) <= slack
    fine = plans[-1]
    square = round(max_read**0.5) // 16 * 16 - 192
    squares = plan_levels(PAPER.geometry, PAPER.alignment, shape, square_tiles(PAPER.geometry, square))[-1]
    assert fine.read_pixels <= squares.read_pixels


def test_a_budget_below_the_least_tile_gives_the_least_tile() -> None:
    assert fitting_tiles(PAPER.geometry, 16, (700, 900), 1) == [(4, 4), (8, 8), (16, 16)]


def test_level_shapes_round_up() -> None:
    assert level_shapes(PAPER.geometry[0], 16, (17, 16)) == ((8, 4), (5, 4))


@pytest.mark.parametrize(
    "changed", [{"size": 0}, {"size": 65}, {"tile": 0}, {"tile": 18}, {"halo": -8}, {"halo": 3}, {"frame": 66}]
)
def test_lengths_that_contradict_each_other_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="px"):
        axis_tiles(**{"size": 60, "frame": 64, "tile": 16, "alignment": 4, "halo": 24, **changed})
