"""A U-Net that takes a mosaic strip by strip, from top to bottom, and computes no pixel twice.

A tile needs a halo as wide as the network reaches, and computes it again. A strip of rows needs none if each
convolution keeps the last rows of what it was given: the next strip's rows go below them. What a layer gives out
therefore lags behind what went in, by the layer's *delay*, and a skip connection waits in a `RowQueue` until the
decoder has caught up. The result is that of one pass over the whole.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcm_cascade.annotate.backends import Backend, Read, convolution_arithmetic, folded
from rcm_cascade.annotate.tiling import LevelPlan, Span, round_up
from rcm_cascade.models import Network
from rcm_cascade.models.unet import UNet

Part = Literal["encoder", "decoder"]

Tensors = Sequence[Tensor]

StripRunner = Callable[[Part, int, bool, Tensors], Tensors]
"""Runs a strip through a level's `StripEncoder` or `StripDecoder`.

Takes the strip's height in px of the level, whether masks are among the inputs, and the inputs of ``forward``; gives
what that gives, which the next strip's run may overwrite where it is the encoder's.
"""

KEPT_ROWS = 2
"""Rows that a 3×3 convolution keeps: with them a strip of n rows gives n rows, one row late."""


@dataclass(frozen=True)
class Stage:
    """What comes out of a convolution or an up-sampling.

    Args:
        pooling: poolings above it: its rows are ``2 ** pooling`` px of the level high.
        delay: by how many of its rows it lags behind the input.
        kept: rows that it keeps of its input; 0 for up-sampling.
        channels: of its input.
    """

    pooling: int
    delay: int
    kept: int
    channels: int


class StripCoder(nn.Module):
    """One way through a U-Net, on one strip of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[Stage] = []
        self.skip_channels: list[int] = []
        """Of the skip connections that come in, from the finest on."""

    def shapes(self, width: int, rows: int, masked: bool) -> list[tuple[int, ...]]:
        """Of the inputs of ``forward``.

        Args:
            width: of the band in px.
            rows: of the strip in px.
            masked: whether masks are among the inputs, as at the mosaic's border.
        """
        depth = len(self.skip_channels)
        skips = [(1, rows >> pooling, width >> pooling, c) for pooling, c in enumerate(self.skip_channels)]
        kept = [(1, s.channels, s.kept, width >> s.pooling) for s in self.stages if s.kept]
        masks = [(1, 1, rows >> s.pooling, 1) for s in self.stages] if masked else []
        return [(1, self.stages[0].channels, rows >> depth, width >> depth), *skips, *kept, *masks]


class StripEncoder(StripCoder):
    """The way down of a U-Net, on one strip of rows.

    Args:
        unet: batch norm folded into its convolutions; weights are shared with it.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(c for block in (*unet.encoder, unet.bottom) for c in _convolutions(block))
        self.skip_delays: list[int] = []
        delay = 0
        for pooling, block in enumerate((*unet.encoder, unet.bottom)):
            convolutions = _convolutions(block)
            for index, convolution in enumerate(convolutions):
                last = index == len(convolutions) - 1 and pooling < unet.depth
                # A row more is kept, where the rows that come out would not pair up for the pooling.
                kept = KEPT_ROWS + (1 if last and (delay + 1) % 2 else 0)
                delay += kept - 1
                self.stages.append(Stage(pooling, delay, kept, convolution.in_channels))
            if pooling < unet.depth:
                self.skip_delays.append(delay)
                delay //= 2

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Runs a strip.

        Args:
            x: ``(1, C, rows, W)``, rows and W multiples of ``2 ** depth``.
            rest: what each convolution kept, ``(1, C, kept, w)``; then, at the mosaic's border, a mask for each stage,
                ``(1, 1, rows, 1)``: 1 inside the mosaic, 0 outside.

        Returns:
            The deepest features, each block's features ``(1, rows, W, C)`` from the finest on, what each convolution
            keeps now.
        """
        strip = _Strip(self.stages, rest)
        skips = []
        for index, (stage, convolution) in enumerate(zip(self.stages, self.convolutions, strict=True)):
            x = strip.convolve(x, convolution)
            if index + 1 < len(self.stages) and self.stages[index + 1].pooling > stage.pooling:
                skips.append(x.permute(0, 2, 3, 1))
                x = F.max_pool2d(x, 2)
        return (x, *skips, *strip.kept)


class StripDecoder(StripCoder):
    """The way up of a U-Net, on one strip of rows.

    Args:
        unet: as for `StripEncoder`.
        encoder: of the same network.
    """

    def __init__(self, unet: UNet, encoder: StripEncoder) -> None:
        super().__init__()
        self.up = unet.up
        self.head = unet.head
        self.convolutions = nn.ModuleList(c for block in unet.decoder for c in _convolutions(block))
        self.per_block = len(self.convolutions) // len(self.up)
        self.waits: list[int] = []
        """By how many rows each skip connection waits for the decoder, from the finest on."""
        delay = encoder.stages[-1].delay
        for pooling, up, block in zip(reversed(range(unet.depth)), unet.up, unet.decoder, strict=True):
            assert isinstance(up, nn.ConvTranspose2d)
            delay *= 2
            self.stages.append(Stage(pooling, delay, 0, up.in_channels))
            self.waits.insert(0, delay - encoder.skip_delays[pooling])
            self.skip_channels.insert(0, up.out_channels)
            for convolution in _convolutions(block):
                delay += KEPT_ROWS - 1
                self.stages.append(Stage(pooling, delay, KEPT_ROWS, convolution.in_channels))
        self.delay = delay
        """By how many px of the level the logits lag behind the input."""

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Runs a strip.

        Args:
            x: of the encoder, ``(1, C, rows, w)``.
            rest: each skip ``(1, rows, W, C)`` after its wait, from the finest on; then as for `StripEncoder`.

        Returns:
            Logits ``(1, classes, rows, W)``, what each convolution keeps now.
        """
        depth = len(self.up)
        skips, strip = rest[:depth], _Strip(self.stages, rest[depth:])
        for level, up in enumerate(self.up):
            x = torch.cat([skips[depth - 1 - level].permute(0, 3, 1, 2), strip.masked(up(x))], dim=1)
            for convolution in self.convolutions[level * self.per_block : (level + 1) * self.per_block]:
                x = strip.convolve(x, convolution)
        return (self.head(x), *strip.kept)


class _Strip:
    """Goes through the stages of one strip, with what they kept before and keep now."""

    def __init__(self, stages: Sequence[Stage], rest: Sequence[Tensor]) -> None:
        self._before = [stage for stage in stages if stage.kept]
        self._rest = rest
        self._masks = list(rest[len(self._before) :])
        self.kept: list[Tensor] = []

    def convolve(self, x: Tensor, convolution: nn.Module) -> Tensor:
        index = len(self.kept)
        kept = self._before[index].kept
        wide = torch.cat([self._rest[index], x], dim=2)
        self.kept.append(wide[:, :, -kept:])
        if kept > KEPT_ROWS:
            wide = wide[:, :, : KEPT_ROWS - kept]
        assert isinstance(convolution, nn.Conv2d)
        return self.masked(F.relu(F.conv2d(wide, convolution.weight, convolution.bias, padding=(0, 1))))

    def masked(self, x: Tensor) -> Tensor:
        """Rows outside the mosaic are zero, as a convolution's padding is."""
        return x * self._masks.pop(0) if self._masks else x


def _convolutions(block: nn.Module) -> list[nn.Conv2d]:
    return [module for module in block.modules() if isinstance(module, nn.Conv2d)]


class RowQueue:
    """Rows that come in at the bottom and come out some rows later, zeros first; each is copied once, into a ring.

    Args:
        ring: ``(1, rows, W, C)``, zero: as many rows as wait and as come in at a time, rounded up to a multiple of
            the latter. Channels are last, so that rows lie together in memory.
        wait: rows by which they are delayed.
    """

    def __init__(self, ring: Tensor, wait: int) -> None:
        self._ring, self._wait, self._fed = ring, wait, 0

    def delayed(self, rows: Tensor) -> Tensor:
        """Takes rows ``(1, n, W, C)`` in, always as many, and gives as many out, until the next come in."""
        size, count = self._ring.shape[1], rows.shape[1]
        into = self._fed % size
        self._ring[:, into : into + count] = rows
        first = (self._fed - self._wait) % size
        self._fed += count
        if first + count <= size:
            return self._ring[:, first : first + count]
        return torch.cat([self._ring[:, first:], self._ring[:, : first + count - size]], dim=1)


class LevelStream:
    """One level's network on a band of columns, fed strip by strip from the top.

    Args:
        encoder: of the level; its dtype and device are computed in and on.
        decoder: of the level.
        runner: computes them.
        width: of the band in px, a multiple of ``2 ** depth``.
        height: of the padded mosaic in px of the level, likewise.
    """

    def __init__(
        self, encoder: StripEncoder, decoder: StripDecoder, runner: StripRunner, width: int, height: int
    ) -> None:
        self.delay = decoder.delay
        self._encoder, self._decoder, self._runner, self._height = encoder, decoder, runner, height
        self._fed = 0
        self._weight = next(encoder.parameters())

        def zeros(channels: int, rows: int, pooling: int) -> Tensor:
            shape = (1, channels, rows, width >> pooling)
            return self._weight.new_zeros(shape).contiguous(memory_format=torch.channels_last)

        self._kept_down, self._kept_up = (
            [zeros(s.channels, s.kept, s.pooling) for s in coder.stages if s.kept] for coder in (encoder, decoder)
        )
        self._zeros, self._waits = zeros, list(zip(decoder.skip_channels, decoder.waits, strict=True))
        self._queues: list[RowQueue] = []

    def _queue(self, pooling: int, channels: int, wait: int, rows: int) -> RowQueue:
        ring = self._zeros(channels, round_up(wait, rows) + rows, pooling)
        return RowQueue(ring.permute(0, 2, 3, 1), wait)

    def feed(self, x: Tensor) -> Tensor:
        """Logits of a strip that lies `delay` rows above the one given.

        Args:
            x: ``(1, C_in, rows, width)``, the rows below those given before; zero below the mosaic. rows is always the
                same, a multiple of ``2 ** depth``.

        Returns:
            ``(1, classes, rows, width)``; rows above the mosaic are meaningless.
        """
        rows, depth = x.shape[2], len(self._waits)
        if not self._queues:
            self._queues = [self._queue(p, c, wait, rows >> p) for p, (c, wait) in enumerate(self._waits)]
        masked = self._fed < self.delay or self._fed + rows > self._height
        down, up = (
            [self._mask(s, rows) for s in coder.stages] if masked else [] for coder in (self._encoder, self._decoder)
        )
        deepest, *out = self._runner("encoder", rows, masked, [x.to(self._weight), *self._kept_down, *down])
        skips, self._kept_down = out[:depth], [kept.clone() for kept in out[depth:]]
        waited = [queue.delayed(skip) for queue, skip in zip(self._queues, skips, strict=True)]
        logits, *self._kept_up = self._runner("decoder", rows, masked, [deepest, *waited, *self._kept_up, *up])
        self._fed += rows
        return logits

    def _mask(self, stage: Stage, rows: int) -> Tensor:
        first = (self._fed >> stage.pooling) - stage.delay
        place = torch.arange(first, first + (rows >> stage.pooling))
        mask = (place >= 0) & (place < self._height >> stage.pooling)
        return mask.to(self._weight)[None, None, :, None]


class StripBackend(Backend):
    """U-Nets whose convolutions keep their last rows, so that nothing is computed twice.

    Args:
        model: as for `Backend`; each level is a `UNet`.
        precision: as for `Backend`.
    """

    def __init__(self, model: Network, precision: str) -> None:
        super().__init__(model, precision)
        self._encoders: list[StripEncoder] = []
        self._decoders: list[StripDecoder] = []
        for level in folded(model).levels:
            assert isinstance(level, UNet)
            self._encoders.append(StripEncoder(level))
            self._decoders.append(StripDecoder(level, self._encoders[-1]))

    def run(self, level: int, plan: LevelPlan, width: int, read: Read) -> Iterator[tuple[Span, Tensor]]:
        """See `Backend.run`."""
        stream = self.stream(level, width, plan.frame[0])
        for strip in plan.strips(stream.delay):
            logits = stream.feed(read(strip))
            done = Span(strip.start - stream.delay, strip.stop - stream.delay)
            rows = done.clipped(plan.covered[0])
            if len(rows):
                yield rows, logits[:, :, rows.within(done)]

    def stream(self, level: int, width: int, height: int) -> LevelStream:
        """Begins a band of a level at its top; arguments as for `LevelStream`."""
        runner = partial(self.compute, level, width)
        return LevelStream(self._encoders[level], self._decoders[level], runner, width, height)

    def coder(self, level: int, part: Part) -> StripCoder:
        """A level's encoder or decoder."""
        return (self._encoders if part == "encoder" else self._decoders)[level]

    @abstractmethod
    def compute(self, level: int, width: int, part: Part, rows: int, masked: bool, inputs: Tensors) -> Tensors:
        """A `StripRunner` of bands of one level and width."""


class TorchStripBackend(StripBackend):
    """PyTorch, channels-last, on the network's device.

    Args:
        model: as for `StripBackend`.
        precision: as for `Backend`.
    """

    name = "torch"

    def __init__(self, model: Network, precision: str) -> None:
        super().__init__(model, precision)
        for coder in (*self._encoders, *self._decoders):
            coder.to(self.compute_dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compute(self, level: int, width: int, part: Part, rows: int, masked: bool, inputs: Tensors) -> Tensors:
        """See `StripBackend.compute`."""
        x, *rest = inputs
        with convolution_arithmetic(self.device):
            outputs: Tensors = self.coder(level, part)(x.contiguous(memory_format=torch.channels_last), *rest)
        return outputs
