from itertools import pairwise, product

import pytest

from rcm_cascade.annotate.tiling import (
    LEAST_ROWS,
    MOST_ROWS,
    WORTH_CUTTING,
    LevelPlan,
    Span,
    cut_bands,
    fitting_cuts,
    level_shapes,
    plan_levels,
    prior_span,
    round_up,
    square_cuts,
)
from rcm_cascade.models import CascadeArguments

LEAST = LEAST_ROWS[0]
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
    (size, round_up(size, 16) + extra, width, alignment, halo)
    for size, extra, width, (alignment, halo) in product(
        (1, 15, 16, 17, 63, 64, 65, 200), (0, 16), (16, 64), ((4, 24), (8, 0), (16, 96))
    )
]


def assert_holds_the_neighbours_of_upsampling(read: Span, frame: int) -> None:
    prior = prior_span(read, frame // 2)
    for pixel in (read.start, read.stop - 1):
        # bilinear by two, align_corners=False: source position (pixel + 0.5) / 2 - 0.5, between two coarse pixels
        below = (pixel - 1) // 2
        for neighbour in (below, below + 1):
            if 0 <= neighbour < frame // 2:
                assert prior.start <= neighbour < prior.stop
    assert 0 <= prior.start < prior.stop <= frame // 2
    assert len(prior) <= len(read) // 2 + 2


@pytest.mark.parametrize(("size", "frame", "width", "alignment", "halo"), AXES)
def test_cores_cover_the_columns_once_and_reads_hold_the_halo(
    size: int, frame: int, width: int, alignment: int, halo: int
) -> None:
    bands = cut_bands(size, frame, width, alignment, halo)

    assert [p for b in bands for p in range(b.core.start, b.core.stop)] == list(range(size))
    for b in bands:
        assert b.core.start % alignment == b.read.start % alignment == b.read.stop % alignment == 0
        assert 0 <= b.read.start <= b.core.start < b.core.stop <= b.read.stop <= frame
        assert b.core.start - b.read.start >= min(halo, b.core.start)
        assert len(b.read) == min(width + 2 * halo, frame)
        assert b.read.stop >= min(frame, b.core.stop + halo)
        assert len(b.core) <= width + 2 * halo


@pytest.mark.parametrize(("size", "frame", "width", "alignment", "halo"), AXES)
def test_priors_of_bands_hold_every_neighbour_that_upsampling_looks_at(
    size: int, frame: int, width: int, alignment: int, halo: int
) -> None:
    for band in cut_bands(size, frame, width, alignment, halo):
        assert_holds_the_neighbours_of_upsampling(band.read, frame)


def test_prior_of_an_unaligned_read_is_rounded_outwards() -> None:
    assert prior_span(Span(9, 21), 32) == Span(3, 12)


PLANS = pytest.mark.parametrize(("arguments", "shape"), list(product(CASCADES, SHAPES)))
DELAYS = (8, 22, 46, 94)


def cut(arguments: CascadeArguments, shape: tuple[int, int], side: int | None) -> list[LevelPlan]:
    geometry, alignment = arguments.geometry, arguments.alignment
    cuts = fitting_cuts(geometry, alignment, shape, 2**14) if side is None else square_cuts(geometry, side)
    return plan_levels(geometry, alignment, shape, cuts)


@PLANS
@pytest.mark.parametrize("side", [1, 64, None])
def test_coarse_levels_cover_the_frame_and_the_last_one_the_mosaic(
    arguments: CascadeArguments, shape: tuple[int, int], side: int | None
) -> None:
    plans = cut(arguments, shape, side)

    for level, plan in zip(arguments.geometry, plans, strict=True):
        for axis in (0, 1):
            assert plan.frame[axis] * level.factor == round_up(shape[axis], arguments.alignment)
            assert plan.shape[axis] == -(-shape[axis] // level.factor)
            assert plan.covered[axis] == (shape[axis] if plan is plans[-1] else plan.frame[axis])
            assert plan.frame[axis] % level.alignment == 0
        assert (plan.factor, plan.alignment) == (level.factor, level.alignment)
        assert plan.bands[-1].core.stop == plan.covered[1]
        assert all(b.core.start % level.alignment == 0 for b in plan.bands)
        assert all(b.read.stop in (b.core.stop + level.halo, plan.frame[1]) for b in plan.bands[:-1])
        assert plan.rows % level.alignment == 0
    for coarse, fine in pairwise(plans):
        assert fine.frame == (2 * coarse.frame[0], 2 * coarse.frame[1])


@PLANS
@pytest.mark.parametrize("side", [1, 64, None])
def test_strips_follow_each_other_until_the_last_covered_row_has_come_out(
    arguments: CascadeArguments, shape: tuple[int, int], side: int | None
) -> None:
    for plan, delay in product(cut(arguments, shape, side), DELAYS):
        strips = list(plan.strips(delay))

        assert strips[0].start == 0
        assert all(above.stop == below.start for above, below in pairwise(strips))
        assert all(len(s) == plan.rows for s in strips)
        assert plan.covered[0] + delay <= strips[-1].stop < plan.covered[0] + delay + plan.rows


@PLANS
def test_a_strip_reads_what_lies_inside_the_frame(arguments: CascadeArguments, shape: tuple[int, int]) -> None:
    for plan in cut(arguments, shape, 16):
        below = 0
        for strip in plan.strips(94):
            read = strip.clipped(plan.frame[0])
            if strip.start >= plan.frame[0]:
                assert len(read) == 0
                below += 1
                continue
            assert read == Span(strip.start, min(strip.stop, plan.frame[0]))
            assert_holds_the_neighbours_of_upsampling(read, plan.frame[0])
        assert below > 0


def test_the_paper_s_form_on_a_small_mosaic() -> None:
    coarse, _, fine = plan_levels(PAPER.geometry, PAPER.alignment, (20, 300), square_cuts(PAPER.geometry, 30))

    assert (coarse.frame, coarse.shape, coarse.covered) == ((8, 76), (5, 75), (8, 76))
    assert [(b.core, b.read) for b in coarse.bands] == [(Span(0, 76), Span(0, 76))]
    assert list(coarse.strips(22)) == [Span(0, 32)]
    assert prior_span(Span(0, 32).clipped(coarse.frame[0]), 4) == Span(0, 4)
    assert fine.covered == (20, 300)
    assert [b.core for b in fine.bands] == [Span(0, 128), Span(128, 160), Span(160, 192), Span(192, 300)]
    assert [b.read for b in fine.bands] == [Span(0, 224), Span(32, 256), Span(64, 288), Span(80, 304)]
    assert prior_span(fine.bands[2].read, fine.frame[1] // 2) == Span(31, 145)
    assert list(fine.strips(94)) == [Span(0, 32), Span(32, 64), Span(64, 96), Span(96, 128)]
    assert prior_span(Span(16, 32), fine.frame[0] // 2) == Span(7, 16)


def test_a_cut_is_rounded_up_to_each_level_s_alignment() -> None:
    assert square_cuts(PAPER.geometry, 50) == [(52, 52), (56, 56), (64, 64)]


@pytest.mark.parametrize("shape", [(1, 1), (90, 100), (700, 900), (4000, 6000), (40, 9000), (9000, 40)])
@pytest.mark.parametrize("pixels", [2**15, 2**16, 2**18])
def test_fitting_cuts_read_no_more_than_allowed_and_leave_no_sliver(shape: tuple[int, int], pixels: int) -> None:
    cuts = fitting_cuts(PAPER.geometry, PAPER.alignment, shape, pixels)
    plans = plan_levels(PAPER.geometry, PAPER.alignment, shape, cuts)

    for level, plan, (rows, width) in zip(PAPER.geometry, plans, cuts, strict=True):
        read = max(len(b.read) for b in plan.bands)
        assert read * rows <= pixels
        assert {len(b.read) for b in plan.bands} == {read}
        height = plan.covered[0] + level.halo
        assert plan.rows == min(rows, round_up(height, level.alignment))
        highest = pixels // read // level.alignment * level.alignment
        count = -(-(plan.frame[0] + level.halo) // highest)
        assert -(-height // rows) <= count
        assert count * rows < plan.frame[0] + level.halo + count * level.alignment
        assert highest >= LEAST
        if plan.frame[1] * LEAST <= pixels:
            assert len(plan.bands) == 1
        else:
            # As wide as may be: with a band fewer they would be too wide.
            fewer = len(plan.bands) - 1
            wider = round_up(-(-(plan.frame[1] + 2 * (fewer - 1) * level.halo) // fewer), level.alignment)
            assert wider * LEAST > pixels
        assert len(plan.bands[0].core) - len(plan.bands[-1].core) <= level.alignment * len(plan.bands)
        assert width % level.alignment == 0
    many = {len(p.bands) for p in plans}
    assert (max(many) > 1) == (shape[1] * LEAST > pixels)


@pytest.mark.parametrize("shape", [(90, 100), (2500, 2399), (4000, 6000), (9000, 40), (12000, 12000)])
@pytest.mark.parametrize("streams", [2, 3])
def test_bands_that_run_at_a_time_are_a_multiple_and_share_the_pixels(shape: tuple[int, int], streams: int) -> None:
    cuts = fitting_cuts(PAPER.geometry, PAPER.alignment, shape, 2**18, streams)

    for level, plan in zip(PAPER.geometry, plan_levels(PAPER.geometry, PAPER.alignment, shape, cuts), strict=True):
        read = max(len(b.read) for b in plan.bands)
        if plan.frame[1] < WORTH_CUTTING * level.halo:
            assert len(plan.bands) == 1
            continue
        assert len(plan.bands) % streams == 0
        assert {len(b.read) for b in plan.bands} == {read}
        assert plan.rows * read * streams <= 2**18
        assert plan.rows <= MOST_ROWS
        assert plan.bands[-1].core.stop == plan.covered[1]


def test_a_strip_is_no_higher_than_what_is_fed() -> None:
    for plan in plan_levels(PAPER.geometry, 16, (40, 50), [(4096, 4096)] * 3):
        assert plan.rows == {4: 36, 2: 72, 1: 144}[plan.factor]


def test_a_budget_below_the_least_strip_gives_the_least_strip() -> None:
    assert fitting_cuts(PAPER.geometry, 16, (700, 900), 1) == [(4, 4), (8, 8), (16, 16)]


def test_level_shapes_round_up() -> None:
    assert level_shapes(PAPER.geometry[0], 16, (17, 16)) == ((8, 4), (5, 4))


def test_a_span_outside_is_clipped_to_nothing() -> None:
    assert Span(-3, 5).clipped(4) == Span(0, 4)
    assert Span(-3, -1).clipped(4) == Span(0, 0)
    assert Span(6, 9).clipped(4) == Span(4, 4)
    assert [1, 2, 3, 4][Span(12, 14).within(Span(11, 15))] == [2, 3]
