"""A U-Net strip by strip equals one pass, and what makes it so is missed where it is left out."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import accumulate, repeat

import pytest
import torch
from torch import Tensor

from rcm_cascade.annotate.backends import folded
from rcm_cascade.annotate.cpu import strips as strips_module
from rcm_cascade.annotate.cpu.strips import (
    LevelStream,
    Part,
    RowQueue,
    Stage,
    StripDecoder,
    StripEncoder,
    StripRunner,
)
from rcm_cascade.annotate.tiling import round_up
from rcm_cascade.models.unet import UNet, unet_reach
from tests.annotate.telling import telling_network

EXACT = 1e-10
BROKEN = 1e-6
"""A broken stream must miss by far more than rounding does."""


class PlainRunner:
    """Encoder and decoder as they are."""

    def __init__(self, encoder: StripEncoder, decoder: StripDecoder) -> None:
        self.encoder, self.decoder = encoder, decoder

    def __call__(self, part: Part, rows: int, masked: bool, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        outputs: Sequence[Tensor] = self.encoder(*inputs) if part == "encoder" else self.decoder(*inputs)
        return outputs


Runner = Callable[[StripEncoder, StripDecoder], StripRunner]


@cache
def telling_unet(depth: int) -> UNet:
    """One level that looks as far as it reaches, batch norm folded, float64. Shared between tests: do not change it."""
    level = folded(telling_network(levels=1, base_depth=depth, base_filters=4)).levels[0]
    assert isinstance(level, UNet)
    return level


def picture(height: int, width: int) -> Tensor:
    return torch.randn((1, 1, height, width), dtype=torch.float64, generator=torch.Generator().manual_seed(height))


@torch.inference_mode()
def streamed(unet: UNet, x: Tensor, heights: Iterable[int], runner: Runner = PlainRunner) -> Tensor:
    """What comes out, less the rows above the mosaic and below; ``heights`` of strips are taken until it has."""
    encoder = StripEncoder(unet)
    decoder = StripDecoder(unet, encoder)
    height, width = x.shape[-2:]
    strips, left = [], height + decoder.delay
    for rows in heights:
        strips.append(rows)
        left -= rows
        if left <= 0:
            break
    stream = LevelStream(encoder, decoder, runner(encoder, decoder), width=width, height=height)
    fed = torch.cat([x, x.new_zeros((*x.shape[:2], sum(strips) - height, width))], dim=2)
    out = torch.cat(
        [stream.feed(strip) for strip in torch.tensor_split(fed, list(accumulate(strips))[:-1], dim=2)], dim=2
    )
    return out[:, :, stream.delay : stream.delay + height]


@torch.inference_mode()
def whole(unet: UNet, x: Tensor) -> Tensor:
    logits: Tensor = unet(x)
    assert logits.std() > 0.1
    return logits


def difference(unet: UNet, x: Tensor, heights: Iterable[int], runner: Runner = PlainRunner) -> float:
    return float((streamed(unet, x, heights, runner) - whole(unet, x)).abs().max())


@pytest.mark.parametrize(("depth", "delay"), [(1, 8), (2, 22), (3, 46), (4, 94), (5, 190), (6, 382)])
def test_the_delay_is_the_reach(depth: int, delay: int) -> None:
    unet = UNet(1, 2, 1, depth)

    assert StripDecoder(unet, StripEncoder(unet)).delay == unet_reach(depth) == delay


@pytest.mark.parametrize(
    ("depth", "skips", "waits"),
    [(1, [2], [4]), (2, [2, 4], [18, 4]), (3, [2, 4, 4], [42, 16, 4]), (4, [2, 4, 4, 4], [90, 40, 16, 4])],
)
def test_skips_wait_until_the_decoder_is_as_late(depth: int, skips: list[int], waits: list[int]) -> None:
    unet = UNet(1, 2, 3, depth)
    encoder = StripEncoder(unet)
    decoder = StripDecoder(unet, encoder)

    assert encoder.skip_delays == skips
    assert decoder.waits == waits
    assert decoder.skip_channels == [3 * 2**pooling for pooling in range(depth)]
    ups = {s.pooling: s.delay for s in decoder.stages if not s.kept}
    assert [ups[pooling] - skip for pooling, skip in enumerate(skips)] == waits


def test_a_third_row_is_kept_where_rows_would_not_pair_up() -> None:
    encoder = StripEncoder(UNet(1, 2, 3, 3))

    assert encoder.stages == [
        Stage(pooling=0, delay=1, kept=2, channels=1),
        Stage(pooling=0, delay=2, kept=2, channels=3),
        Stage(pooling=1, delay=2, kept=2, channels=3),
        Stage(pooling=1, delay=4, kept=3, channels=6),
        Stage(pooling=2, delay=3, kept=2, channels=6),
        Stage(pooling=2, delay=4, kept=2, channels=12),
        Stage(pooling=3, delay=3, kept=2, channels=12),
        Stage(pooling=3, delay=4, kept=2, channels=24),
    ]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("blocks", [1, 3, 1000])
def test_strips_of_one_height_equal_the_whole(depth: int, blocks: int) -> None:
    step = 2**depth
    rows = min(blocks * step, 320)

    assert difference(telling_unet(depth), picture(160, 2 * step), repeat(rows)) < EXACT


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_mosaics_lower_than_the_delay_equal_the_whole(depth: int, blocks: int) -> None:
    step = 2**depth

    assert difference(telling_unet(depth), picture(blocks * step, 3 * step), repeat(2 * step)) < EXACT


def test_one_stream_after_another_and_two_at_once_do_not_mix() -> None:
    unet = telling_unet(2)
    encoder = StripEncoder(unet)
    decoder = StripDecoder(unet, encoder)
    runner = PlainRunner(encoder, decoder)
    pictures = picture(64, 8), picture(64, 8).flip(2)
    parts: tuple[list[Tensor], list[Tensor]] = [], []
    with torch.inference_mode():
        streams = [LevelStream(encoder, decoder, runner, width=8, height=64) for _ in pictures]
        for top in range(0, 96, 16):
            for x, stream, part in zip(pictures, streams, parts, strict=True):
                strip = x[:, :, top : top + 16]
                part.append(stream.feed(strip if len(strip[0, 0]) else x.new_zeros(1, 1, 16, 8)))

    for x, part in zip(pictures, parts, strict=True):
        assert (torch.cat(part, dim=2)[:, :, 22 : 22 + 64] - whole(unet, x)).abs().max() < EXACT


# What follows must *fail* to be equal. Each broken stream is first seen to be equal when it is not broken.

DEPTHS = pytest.mark.parametrize("depth", [2, 3, 4])


def assert_broken(depth: int, change: Callable[[], object], runner: Runner = PlainRunner) -> None:
    unet, x = telling_unet(depth), picture(192, 2 * 2**depth)
    strips = repeat(32)
    assert difference(unet, x, strips) < EXACT
    change()
    assert difference(unet, x, strips, runner) > BROKEN


class Forgetful(PlainRunner):
    """Forgets what one convolution kept: ``encoder`` or ``decoder``, and which of its convolutions."""

    def __init__(self, part: str, index: int, encoder: StripEncoder, decoder: StripDecoder) -> None:
        super().__init__(encoder, decoder)
        self.part, self.index = part, index

    def __call__(self, part: Part, rows: int, masked: bool, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        given = list(inputs)
        if part == self.part:
            first = 1 if part == "encoder" else 1 + len(self.decoder.waits)
            assert given[first + self.index].shape[2] in (2, 3)
            given[first + self.index] = torch.zeros_like(given[first + self.index])
        return super().__call__(part, rows, masked, given)


FORGOTTEN = [(d, part, i) for d in (2, 3) for part, n in (("encoder", 2 * d + 2), ("decoder", 2 * d)) for i in range(n)]


@pytest.mark.parametrize(("depth", "part", "index"), FORGOTTEN)
def test_kept_rows_forgotten_are_noticed(depth: int, part: str, index: int) -> None:
    assert_broken(depth, lambda: None, partial(Forgetful, part, index))


@DEPTHS
@pytest.mark.parametrize("border", ["top", "bottom"])
def test_masks_left_out_are_noticed(depth: int, border: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LevelStream._mask

    def wrong(stream: LevelStream, stage: Stage, rows: int) -> Tensor:
        mask = right(stream, stage, rows)
        left_out = stream._fed < stream._height / 2 if border == "top" else stream._fed >= stream._height / 2
        return torch.ones_like(mask) if left_out else mask

    assert_broken(depth, lambda: monkeypatch.setattr(LevelStream, "_mask", wrong))


@pytest.mark.parametrize(("depth", "pooling"), [(d, p) for d in (2, 3, 4) for p in range(d)])
def test_a_skip_that_waits_a_row_too_little_is_noticed(
    depth: int, pooling: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = StripDecoder(telling_unet(depth), StripEncoder(telling_unet(depth))).waits[pooling]
    changed = []

    class Hasty(RowQueue):
        def __init__(self, ring: Tensor, waiting: int) -> None:
            if waiting == wait:
                changed.append(waiting)
                waiting -= 1
            super().__init__(ring, waiting)

    assert_broken(depth, lambda: monkeypatch.setattr(strips_module, "RowQueue", Hasty))
    assert changed == [wait]


# Rows that wait.


@pytest.mark.parametrize("wait", [0, 1, 4, 18, 90])
@pytest.mark.parametrize("rows", [1, 8, 32])
def test_a_row_queue_is_a_list_read_some_rows_later(wait: int, rows: int) -> None:
    width, channels = 3, 2
    queue = RowQueue(torch.zeros(1, round_up(wait, rows) + rows, width, channels), wait)
    before = [torch.zeros(width, channels)] * wait
    for _ in range(40):
        new = torch.rand(1, rows, width, channels)
        before.extend(new[0])

        found = queue.delayed(new)

        assert found.is_contiguous()
        stop = len(before) - wait
        assert torch.equal(found[0], torch.stack(before[stop - rows : stop]))
