"""Tiled equals whole, on a network that can tell, and three broken tilers that it tells from a right one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate import engine
from rcm_cascade.annotate.backends import has_bf16, open_backend
from rcm_cascade.annotate.engine import Annotation, annotate_image, level_tiles, plan
from rcm_cascade.annotate.tiling import LevelPlan, Span, Tile, plan_levels, prior_span
from rcm_cascade.data.intensity import measure, to_uint8
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.cascade import upsample
from tests.annotate.telling import MIN_SHARE, class_shares, noise, telling_network, whole

EXACT = 1e-10
BROKEN = 1e-6
"""A broken tiler must miss by far more than rounding does."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiled(model: CascadedUNet, image: NDArray[np.uint8], plans: Sequence[LevelPlan]) -> list[Tensor]:
    """Logits of every level, put together from tiles; a pixel that no tile gives is NaN, one given twice an error."""
    backend = open_backend(model)
    maps = [torch.full((6, *p.shape), torch.nan, dtype=backend.dtype) for p in plans]
    for piece in level_tiles(backend, image, measure(image), plans):
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

    found = tiled(model, image, plan(open_backend(model), image.shape, tile))

    assert max(differences(found, expected)) < EXACT
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.argmax(0), b.argmax(0))


RESIDUES = [(48 + r, 64 + (5 * r + 3) % 16) for r in range(16)]
TINY = [(1, 1), (1, 37), (37, 1), (2, 3), (15, 17), (16, 16)]
AROUND_ONE_TILE = [(47, 49), (48, 48), (49, 47)]
AROUND_ONE_TILE_AT_THE_COARSEST_LEVEL = [(191, 5), (192, 16), (193, 3), (4, 193)]


def test_the_network_can_tell() -> None:
    logits = whole(telling_network(), noise(180, 212, seed=4))

    for level in logits:
        assert class_shares(level).min() >= MIN_SHARE


@pytest.mark.parametrize("shape", RESIDUES)
def test_tiled_equals_whole_at_every_residue(shape: tuple[int, int]) -> None:
    assert_exact(telling_network(), noise(*shape, seed=1), tile=32)


def test_the_residues_are_all_there() -> None:
    assert {h % 16 for h, _ in RESIDUES} == {w % 16 for _, w in RESIDUES} == set(range(16))


@pytest.mark.parametrize("shape", [*TINY, *AROUND_ONE_TILE, *AROUND_ONE_TILE_AT_THE_COARSEST_LEVEL])
def test_tiled_equals_whole_at_sizes_round_the_tile(shape: tuple[int, int]) -> None:
    assert_exact(telling_network(), noise(*shape, seed=2), tile=48)


@pytest.mark.parametrize("shape", [(49, 40), (33, 66)])
def test_tiled_equals_whole_with_the_paper_s_filters(shape: tuple[int, int]) -> None:
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


def test_tiles_chosen_for_speed_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TILE_READ_PIXELS", 160**2)
    monkeypatch.setattr(engine, "BAND_PIXELS", 1000)
    image = noise(45, 603, seed=5)
    assert len(plan(open_backend(telling_network()), image.shape)[-1].cols) > 1
    assert_exact(telling_network(), image, tile=None)


@pytest.mark.slow
def test_tiled_equals_whole_on_a_large_image() -> None:
    assert_exact(telling_network(), noise(700, 900, seed=6), tile=256)


@pytest.mark.parametrize(("shape", "tile"), [((700, 900), 256), ((257, 130), 128), ((1, 1), 128)])
def test_in_float32_only_ties_change_their_label(shape: tuple[int, int], tile: int) -> None:
    model, image = telling_network(torch.float32), noise(*shape, seed=7)
    expected = whole(model, image)

    found = tiled(model, image, plan(open_backend(model), shape, tile))
    annotation = annotate_image(model, image, tile=tile, precision="fp32", levels=True)

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
    assert max(differences(tiled(model, image, good), expected)) < EXACT
    assert differences(tiled(model, image, bad), expected)[-1] > BROKEN


def cut_at(level: int, tile: int) -> list[tuple[int, int]]:
    """Small tiles at one level, one tile at the others, to save time."""
    return [(tile, tile) if i == level else (4096, 4096) for i in range(3)]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_halo_without_its_last_alignment_block_is_noticed(level: int) -> None:
    image, geometry = noise(144, 48, seed=8), list(telling_network().geometry)
    good = plan_levels(geometry, 16, image.shape, cut_at(level, 32))
    geometry[level] = replace(geometry[level], reach=geometry[level].reach - geometry[level].alignment)
    bad = plan_levels(geometry, 16, image.shape, cut_at(level, 32))
    assert good != bad

    assert_broken(image, good, bad)


def shifted(tiles: Sequence[Tile], frame: int) -> tuple[Tile, ...]:
    """The first tile that touches no border reads one pixel further on; its halo still covers the reach."""
    at = next(i for i, t in enumerate(tiles) if t.read.start > 0 and t.read.stop < frame)
    read = Span(tiles[at].read.start + 1, tiles[at].read.stop + 1)
    return (*tiles[:at], replace(tiles[at], read=read, prior=prior_span(read, frame)), *tiles[at + 1 :])


@pytest.mark.parametrize(("level", "height"), [(0, 336), (1, 272), (2, 256)])
def test_a_start_that_moves_by_one_pixel_is_noticed(level: int, height: int) -> None:
    image = noise(height, 40, seed=9)
    good = plan_levels(telling_network().geometry, 16, image.shape, cut_at(level, 16))
    bad = list(good)
    bad[level] = replace(good[level], rows=shifted(good[level].rows, good[level].frame[0]))

    assert_broken(image, good, bad)


@pytest.mark.parametrize("level", [1, 2])
def test_a_prior_upsampled_tile_by_tile_without_margin_is_noticed(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = telling_network(), noise(100, 120, seed=10)
    plans = plan_levels(model.geometry, 16, image.shape, cut_at(level - 1, 16))
    expected = whole(model, image)
    assert max(differences(tiled(model, image, plans), expected)) < EXACT
    right = engine.level_input

    def wrong(grey: Tensor, coarser: Tensor | None, rows: Tile, cols: Tile) -> Tensor:
        coarse = plans[level - 1]
        if coarser is None or coarser.shape[-2:] != coarse.frame:
            return right(grey, coarser, rows, cols)
        strips = []
        for r in coarse.rows:
            strip = [coarser[..., r.core.start : r.core.stop, c.core.start : c.core.stop] for c in coarse.cols]
            strips.append(torch.cat([upsample(part) for part in strip], dim=-1))
        full = torch.cat(strips, dim=-2)
        prior = full[..., rows.read.start : rows.read.stop, cols.read.start : cols.read.stop]
        return torch.cat([grey, prior], dim=1)

    monkeypatch.setattr(engine, "level_input", wrong)
    assert differences(tiled(model, image, plans), expected)[-1] > BROKEN


@pytest.mark.parametrize("level", [1, 2])
def test_a_prior_read_without_margin_is_noticed_where_the_halo_has_no_slack(level: int) -> None:
    # At the paper's depths the reach is 22, 46, 94 px and the halo 24, 48, 96: the two px of slack hide the missing
    # margin, whose error is one px wide. With one pooling the reach is 8 px, all of the halo.
    network = {"base_depth": 1, "depth_increment": 0}
    model, image = telling_network(**network), noise(60, 72, seed=11)
    assert all(g.reach == g.halo for g in model.geometry)
    good = plan(open_backend(model), image.shape, 16)
    bad = list(good)
    rows, cols = (
        tuple(replace(t, prior=Span(t.read.start // 2, t.read.stop // 2)) for t in tiles)
        for tiles in (good[level].rows, good[level].cols)
    )
    bad[level] = replace(good[level], rows=rows, cols=cols)

    assert_broken(image, good, bad, **network)


# What annotate_image makes of it.


def test_labels_of_every_level_on_request() -> None:
    model, image = telling_network(), noise(50, 67, seed=12)

    annotation = annotate_image(model, image, tile=32, levels=True)

    for labels, logits in zip(annotation.level_labels, whole(model, image), strict=True):
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, logits.argmax(0).numpy())
    assert np.array_equal(annotation.labels, annotation.level_labels[-1])
    assert annotation.tile == ((16, 20), (32, 32), (32, 32))
    assert annotation.precision == "fp64"
    assert (annotation.backend, annotation.device) == ("torch", "cpu")
    assert annotation.seconds > 0
    assert annotate_image(model, image).level_labels == ()


def test_the_model_is_left_as_it_was() -> None:
    model = CascadedUNet(base_filters=2).train()
    model.levels[1].eval()
    modes = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]

    annotate_image(model, noise(40, 40, seed=13))

    assert [m.training for m in model.modules()] == modes
    assert [name for name, _ in model.named_modules()] == names
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_a_network_in_training_is_annotated_with_its_running_statistics() -> None:
    image = noise(40, 56, seed=14)
    expected = whole(telling_network(), image)[-1].argmax(0).numpy()
    training = CascadedUNet(**telling_network().arguments.to_plain()).double()
    training.load_state_dict(telling_network().state_dict())

    assert np.array_equal(annotate_image(training.train(), image).labels, expected)


def test_nothing_is_left_in_inference_mode_between_tiles() -> None:
    model, image = telling_network(), noise(40, 40, seed=15)
    backend = open_backend(model)
    for _ in level_tiles(backend, image, measure(image), plan(backend, image.shape, 16)):
        assert not torch.is_inference_mode_enabled()


def test_a_memory_mapped_read_only_image_is_read_in_place(tmp_path: Path) -> None:
    image = noise(70, 75, seed=16)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")

    labels = annotate_image(telling_network(), mapped, tile=32).labels

    assert np.array_equal(labels, annotate_image(telling_network(), image).labels)


def test_16_bit_images_are_stretched_over_the_whole_mosaic() -> None:
    deep = noise(64, 80, seed=17).astype(np.uint16) * 16 + 100
    shallow = to_uint8(deep)
    assert len(np.unique(shallow)) > 100

    labels = annotate_image(telling_network(), deep, tile=32).labels

    assert np.array_equal(labels, whole(telling_network(), shallow)[-1].argmax(0).numpy())


def test_without_normalisation_grey_levels_go_in_over_255() -> None:
    model, image = telling_network(), noise(40, 50, seed=18)
    with torch.inference_mode():
        expected = model(torch.from_numpy(image)[None, None].double() / 255)[-1][0].argmax(0).numpy()

    labels = annotate_image(model, image, normalisation="none").labels

    assert np.array_equal(labels, expected)
    assert not np.array_equal(labels, annotate_image(model, image).labels)


def test_progress_adds_up_to_the_mosaic() -> None:
    done: list[float] = []
    image = noise(65, 90, seed=19)

    annotate_image(telling_network(), image, tile=16, progress=lambda amount: done.append(amount))

    assert sum(done) == pytest.approx(65 * 90 / 1e6)
    assert len(done) > 30
    assert min(done) > 0


def test_bf16_agrees_where_no_two_classes_are_close() -> None:
    model, image = telling_network(torch.float32), noise(60, 64, seed=20)

    annotation = bf16(model, image)

    best, second = whole(model, image)[-1].topk(2, dim=0).values
    sure = ((best - second) > 0.2).numpy()
    assert sure.sum() > 100
    agree = annotation.labels == whole(model, image)[-1].argmax(0).numpy()
    assert agree[sure].mean() > 0.97
    assert annotation.precision == "bf16"


def bf16(model: CascadedUNet, image: NDArray[np.uint8]) -> Annotation:
    if has_bf16(torch.device("cpu")):
        return annotate_image(model, image, precision="bf16")
    with pytest.warns(RuntimeWarning, match="no bfloat16 arithmetic"):
        return annotate_image(model, image, precision="bf16")


@pytest.mark.parametrize("image", [np.zeros((3, 4, 1), np.uint8), np.zeros((0, 4), np.uint8)], ids=["3d", "empty"])
def test_other_shapes_are_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\)"):
        annotate_image(telling_network(), image)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8 or uint16"):
        annotate_image(telling_network(), np.zeros((3, 4), np.float32))  # type: ignore[arg-type]


def test_a_tile_below_one_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="tile is 0 px"):
        annotate_image(telling_network(), noise(8, 8, seed=21), tile=0)
