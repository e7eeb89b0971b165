"""Streamed equals whole, on a network that can tell, and broken ways of reading that it tells from the right one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate import engine
from rcm_cascade.annotate.backends import AnnotationOptions, open_backend
from rcm_cascade.annotate.cpu import strips
from rcm_cascade.annotate.cpu.strips import LevelStream, RowQueue, Stage, StripBackend
from rcm_cascade.annotate.engine import annotate_image, level_pieces, plan
from rcm_cascade.annotate.tiling import Band, LevelPlan, Span, plan_levels, prior_span
from rcm_cascade.data.intensity import measure
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.cascade import upsample
from tests.annotate.telling import MIN_SHARE, class_shares, network_input, noise, telling_network, whole

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = 1e-10
BROKEN = 1e-6
"""A broken reading must miss by far more than rounding does."""


def torch_backend(model: CascadedUNet) -> StripBackend:
    backend = open_backend(model, backend="torch", precision="fp32")
    assert isinstance(backend, StripBackend)
    return backend


def streamed(model: CascadedUNet, image: NDArray[np.uint8], plans: Sequence[LevelPlan]) -> list[Tensor]:
    """Logits of every level, put together from pieces; a pixel that no piece gives is NaN, one given twice an error."""
    backend = torch_backend(model)
    maps = [torch.full((6, *p.shape), torch.nan, dtype=backend.dtype) for p in plans]
    for piece in level_pieces(backend, image, measure(image), plans):
        place = maps[piece.level][:, piece.rows, piece.cols]
        assert place.isnan().all()
        assert place.shape == piece.logits.shape
        place[:] = piece.logits
    return maps


def differences(found: Sequence[Tensor], expected: Sequence[Tensor]) -> list[float]:
    """Largest difference at each level; NaN where a pixel is missing."""
    return [float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)]


def assert_exact(model: CascadedUNet, image: NDArray[np.uint8], tile: int | None) -> None:
    expected = whole(model, image)
    assert image.size < 4 or expected[-1].std() > 0.1

    found = streamed(model, image, plan(torch_backend(model), image.shape, tile))

    assert max(differences(found, expected)) < EXACT
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.argmax(0), b.argmax(0))


RESIDUES = [(48 + r, 64 + (5 * r + 3) % 16) for r in range(16)]
TINY = [(1, 1), (1, 37), (37, 1), (2, 3), (15, 17), (16, 16)]
AROUND_ONE_STRIP = [(47, 49), (48, 48), (49, 47)]
AROUND_ONE_STRIP_AT_THE_COARSEST_LEVEL = [(191, 5), (192, 16), (193, 3), (4, 191), (16, 192), (3, 193)]


def test_the_network_can_tell() -> None:
    logits = whole(telling_network(), noise(180, 212, seed=4))

    for level in logits:
        assert class_shares(level).min() >= MIN_SHARE


@pytest.mark.parametrize("shape", RESIDUES)
def test_streamed_equals_whole_at_every_residue(shape: tuple[int, int]) -> None:
    assert_exact(telling_network(), noise(*shape, seed=1), tile=32)


def test_the_residues_are_all_there() -> None:
    assert {h % 16 for h, _ in RESIDUES} == {w % 16 for _, w in RESIDUES} == set(range(16))


@pytest.mark.parametrize("shape", [*TINY, *AROUND_ONE_STRIP, *AROUND_ONE_STRIP_AT_THE_COARSEST_LEVEL])
def test_streamed_equals_whole_at_sizes_round_a_strip_and_a_band(shape: tuple[int, int]) -> None:
    assert_exact(telling_network(), noise(*shape, seed=2), tile=48)


@pytest.mark.parametrize("shape", [(49, 40), (33, 66)])
def test_streamed_equals_whole_with_the_paper_s_filters(shape: tuple[int, int]) -> None:
    assert_exact(telling_network(base_filters=24), noise(*shape, seed=3), tile=32)


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": 1},
        {"levels": 2},
        {"levels": 2, "base_depth": 3},
        {"depth_increment": 0},
        {"base_depth": 4, "depth_increment": -1},
        {"prior": "logits"},
    ],
    ids=str,
)
def test_other_cascades_are_exact_too(arguments: dict[str, Any]) -> None:
    assert_exact(telling_network(**arguments), noise(70, 93, seed=4), tile=32)


@pytest.mark.parametrize("shape", [(45, 603), (603, 45), (90, 350)])
def test_cuts_chosen_for_speed_are_exact(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STRIP_PIXELS", {"cpu": 96**2})
    image = noise(*shape, seed=5)
    backend = torch_backend(telling_network())
    fine = plan(backend, image.shape)[-1]
    assert len(fine.bands) > 1 or shape[1] < 100
    assert len(list(fine.strips(backend.stream(2, 16, 16).delay))) > 1
    assert_exact(telling_network(), image, tile=None)


@pytest.mark.slow
def test_streamed_equals_whole_on_a_large_image() -> None:
    assert_exact(telling_network(), noise(700, 900, seed=6), tile=256)


@pytest.mark.parametrize(("shape", "tile"), [((700, 900), 256), ((257, 130), 128), ((1, 1), 128)])
def test_in_float32_only_ties_change_their_label(shape: tuple[int, int], tile: int) -> None:
    model, image = telling_network(torch.float32), noise(*shape, seed=7)
    expected = whole(model, image)

    found = streamed(model, image, plan(torch_backend(model), shape, tile))
    annotation = annotate_image(
        model, image, AnnotationOptions(tile=tile, precision="fp32", backend="torch"), levels=True
    )

    assert max(differences(found, expected)) < 1e-5
    for a, b, labels in zip(found, expected, annotation.level_labels, strict=True):
        changed = a.argmax(0) != b.argmax(0)
        best, second = b.topk(2, dim=0).values
        assert changed.sum() <= 1e-5 * b[0].numel()
        assert ((best - second)[changed] < 1e-3).all()
        assert np.array_equal(labels, a.argmax(0).numpy())


# What follows must *fail* to be equal. Each broken plan is first seen to be equal when it is not broken.


def assert_broken(
    image: NDArray[np.uint8], good: Sequence[LevelPlan], bad: Sequence[LevelPlan], **network: Any
) -> None:
    model = telling_network(**network)
    expected = whole(model, image)
    assert max(differences(streamed(model, image, good), expected)) < EXACT
    assert differences(streamed(model, image, bad), expected)[-1] > BROKEN


def cut_at(level: int, width: int) -> list[tuple[int, int]]:
    """Narrow bands at one level, one band at the others, to save time."""
    return [(48, width if i == level else 4096) for i in range(3)]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_halo_without_its_last_alignment_block_is_noticed(level: int) -> None:
    image, geometry = noise(48, 400, seed=8), list(telling_network().geometry)
    good = plan_levels(geometry, 16, image.shape, cut_at(level, 32))
    geometry[level] = replace(geometry[level], reach=geometry[level].reach - geometry[level].alignment)
    bad = plan_levels(geometry, 16, image.shape, cut_at(level, 32))
    assert good != bad

    assert_broken(image, good, bad)


def shifted(bands: Sequence[Band], frame: int) -> tuple[Band, ...]:
    """The first band that touches no border reads one pixel further on; its halo still covers the reach."""
    at = next(i for i, b in enumerate(bands) if b.read.start > 0 and b.read.stop < frame)
    read = Span(bands[at].read.start + 1, bands[at].read.stop + 1)
    return (*bands[:at], replace(bands[at], read=read), *bands[at + 1 :])


@pytest.mark.parametrize(("level", "width"), [(0, 336), (1, 272), (2, 256)])
def test_a_start_that_moves_by_one_pixel_is_noticed(level: int, width: int) -> None:
    image = noise(40, width, seed=9)
    good = plan_levels(telling_network().geometry, 16, image.shape, cut_at(level, 16))
    bad = list(good)
    bad[level] = replace(good[level], bands=shifted(good[level].bands, good[level].frame[1]))

    assert_broken(image, good, bad)


@pytest.mark.parametrize(("level", "cut"), [(1, "bands"), (1, "strips"), (2, "bands"), (2, "strips")])
def test_a_prior_upsampled_part_by_part_without_margin_is_noticed(
    level: int, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = telling_network(), noise(100, 400, seed=10)
    plans = plan_levels(model.geometry, 16, image.shape, [(16, 16) if i == level - 1 else (48, 64) for i in range(3)])
    expected = whole(model, image)
    assert max(differences(streamed(model, image, plans), expected)) < EXACT
    right = engine.upsampled
    coarse = plans[level - 1]

    def wrong(coarser: Tensor | None, rows: Span, cols: Span, dtype: torch.dtype) -> Tensor | None:
        if coarser is None or coarser.shape[-2:] != coarse.frame:
            return right(coarser, rows, cols, dtype)
        if cut == "bands":
            parts = torch.tensor_split(coarser, [b.core.start for b in coarse.bands[1:]], dim=3)
        else:
            parts = torch.tensor_split(coarser, list(range(coarse.rows, coarse.frame[0], coarse.rows)), dim=2)
        assert len(parts) > 1
        full = torch.cat([upsample(part) for part in parts], dim=3 if cut == "bands" else 2)
        return full[..., rows.start : rows.stop, cols.start : cols.stop]

    monkeypatch.setattr(engine, "upsampled", wrong)
    assert differences(streamed(model, image, plans), expected)[-1] > BROKEN


def assert_broken_without_margin(
    model: CascadedUNet, image: NDArray[np.uint8], level: int, of: Callable[[LevelPlan, Span], bool]
) -> None:
    """Spans of one level that `of` picks lose the margin of their prior."""
    plans, right = plan(torch_backend(model), image.shape, 16), prior_span
    seen: list[Span] = []

    def wrong(read: Span, size: int) -> Span:
        if 2 * size not in plans[level].frame or not of(plans[level], read):
            return right(read, size)
        seen.append(read)
        return Span(read.start // 2, read.stop // 2)

    with pytest.MonkeyPatch.context() as patched:
        assert_broken_by(lambda: patched.setattr(engine, "prior_span", wrong), model, image, plans)
    assert seen


@pytest.mark.parametrize("level", [1, 2])
def test_a_prior_of_a_band_without_margin_is_noticed_where_the_halo_has_no_slack(level: int) -> None:
    # At the paper's depths the reach is 22, 46, 94 px and the halo 24, 48, 96: the two px of slack hide the missing
    # margin, whose error is one px wide. With one pooling the reach is 8 px, all of the halo.
    model = telling_network(base_depth=1, depth_increment=0)
    assert all(g.reach == g.halo for g in model.geometry)

    assert_broken_without_margin(
        model, noise(60, 72, seed=11), level, lambda plan, span: any(span == b.read for b in plan.bands)
    )


@pytest.mark.parametrize("level", [1, 2])
def test_a_prior_of_a_strip_without_margin_is_noticed(level: int) -> None:
    assert_broken_without_margin(
        telling_network(), noise(100, 40, seed=11), level, lambda plan, span: all(span != b.read for b in plan.bands)
    )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_strip_that_begins_one_row_late_is_noticed(level: int) -> None:
    right, late = engine.strip_input, []
    image = noise(144, 40, seed=22)
    plans = plan(torch_backend(telling_network()), image.shape, 16)

    def wrong(backend: Any, grey: Any, intensity: Any, prior: Any, plan: LevelPlan, cols: Span, rows: Span) -> Tensor:
        if plan.factor == plans[level].factor and 0 < rows.start < rows.stop < plan.frame[0]:
            late.append(rows)
            rows = Span(rows.start + 1, rows.stop + 1)
        return right(backend, grey, intensity, prior, plan, cols, rows)

    with pytest.MonkeyPatch.context() as patched:
        assert_broken_by(lambda: patched.setattr(engine, "strip_input", wrong), telling_network(), image, plans)
    assert late


@pytest.mark.parametrize("level", [0, 1, 2])
def test_kept_rows_forgotten_between_strips_are_noticed(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LevelStream.feed

    def wrong(stream: LevelStream, x: Tensor) -> Tensor:
        if stream.delay == model.geometry[level].reach:
            stream._kept_down = [torch.zeros_like(k) for k in stream._kept_down]
            stream._kept_up = [torch.zeros_like(k) for k in stream._kept_up]
        return right(stream, x)

    model = telling_network()
    assert_broken_by(lambda: monkeypatch.setattr(LevelStream, "feed", wrong))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_masks_left_out_at_the_border_are_noticed(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LevelStream._mask

    def wrong(stream: LevelStream, stage: Stage, rows: int) -> Tensor:
        mask = right(stream, stage, rows)
        return torch.ones_like(mask) if stream.delay == model.geometry[level].reach else mask

    model = telling_network()
    assert_broken_by(lambda: monkeypatch.setattr(LevelStream, "_mask", wrong))


@pytest.mark.parametrize("wait", [4, 18, 16, 42, 40, 90])
def test_a_skip_that_waits_a_row_too_little_is_noticed(wait: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasty(RowQueue):
        def __init__(self, ring: Tensor, waiting: int) -> None:
            super().__init__(ring, waiting - (waiting == wait))

    assert_broken_by(lambda: monkeypatch.setattr(strips, "RowQueue", Hasty))


def assert_broken_by(
    change: Callable[[], object],
    model: CascadedUNet | None = None,
    image: NDArray[np.uint8] | None = None,
    plans: Sequence[LevelPlan] | None = None,
) -> None:
    model = telling_network() if model is None else model
    image = noise(100, 40, seed=23) if image is None else image
    plans = plan(torch_backend(model), image.shape, 32) if plans is None else plans
    expected = whole(model, image)
    assert max(differences(streamed(model, image, plans), expected)) < EXACT
    change()
    assert differences(streamed(model, image, plans), expected)[-1] > BROKEN


def test_nothing_is_left_in_inference_mode_between_strips() -> None:
    model, image = telling_network(), noise(40, 40, seed=15)
    backend = torch_backend(model)
    for _ in level_pieces(backend, image, measure(image), plan(backend, image.shape, 16)):
        assert not torch.is_inference_mode_enabled()


ENSEMBLES: list[dict[str, Any]] = [
    {"prior": "none"},
    {"prior": "none", "levels": 2},
    {"prior": "none", "depth_increment": 0},
]


@pytest.mark.parametrize("arguments", ENSEMBLES, ids=str)
@pytest.mark.parametrize(("shape", "tile"), [((70, 93), 32), ((1, 37), 32), ((193, 50), 48), ((64, 64), None)])
def test_the_merged_map_of_independent_levels_is_that_of_one_pass(
    arguments: dict[str, Any], shape: tuple[int, int], tile: int | None
) -> None:
    model, image = telling_network(**arguments), noise(*shape, seed=8)
    with torch.inference_mode():
        expected = model.predict(network_input(image, torch.float64))[0]
    backend = torch_backend(model)
    merged = torch.full_like(expected, torch.nan)
    plans = plan(backend, shape, tile)

    for piece in level_pieces(backend, image, measure(image), plans):
        assert (piece.merged is None) == (piece.level < len(plans) - 1)
        if piece.merged is not None:
            merged[:, piece.rows, piece.cols] = piece.merged

    assert float((merged - expected).abs().max()) < EXACT
    assert max(differences(streamed(model, image, plans), whole(model, image))) < EXACT
    if image.size > 4000:
        assert not torch.equal(merged.argmax(0), whole(model, image)[-1].argmax(0))


def test_what_a_cascade_merges_is_its_finest_level() -> None:
    image = noise(40, 50, seed=9)
    backend = torch_backend(telling_network())

    for piece in level_pieces(backend, image, measure(image), plan(backend, image.shape)):
        assert (piece.merged is not None) == (piece.level == 2)
        assert piece.merged is None or torch.equal(piece.merged, piece.logits)


def test_labels_of_independent_levels_are_those_of_the_merged_map() -> None:
    model, image = telling_network(torch.float32, prior="none"), noise(90, 81, seed=10)
    with torch.inference_mode():
        expected = model.predict(network_input(image, torch.float32))[0].argmax(0).numpy()

    for backend in ("torch", "auto"):
        annotation = annotate_image(model, image, AnnotationOptions(precision="fp32", backend=backend), levels=True)
        assert (annotation.labels == expected).mean() > 0.9999
        assert (annotation.level_labels[-1] != annotation.labels).any()
