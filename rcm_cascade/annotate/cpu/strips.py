"""A U-Net that takes a mosaic strip by strip, from top to bottom, and computes no pixel twice.

A tile needs a halo as wide as the network reaches, and computes it again. A strip of rows needs none if each
convolution keeps the last rows of what it was given: the next strip's rows go below them. What a layer gives out
therefore lags behind what went in, by the layer's *delay*, and a skip connection waits in a `RowQueue` until the
decoder has caught up. The result is that of one pass over the whole.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rcm_cascade.annotate.backends import Backend, Read, convolution_arithmetic
from rcm_cascade.annotate.tiling import LevelPlan, Span
from rcm_cascade.models import Network
from rcm_cascade.models.unet import UNet

Part = Literal["encoder", "decoder"]

Tensors = Sequence[Tensor]

StripRunner = Callable[[Part, Tensor, Tensors, Tensors, Tensors], tuple[Tensor, Tensors]]
"""Runs a strip through a level's `StripEncoder` or `StripDecoder`.

Takes what goes in first; the skips ``(1, rows, W, C)`` from the finest on, which the encoder writes and the decoder
reads; what each convolution kept; and masks, or none. Gives what comes out first, and what each convolution keeps now.
"""

KEPT_ROWS = 2
"""Rows that a 3×3 convolution keeps: with them a strip of n rows gives n rows, one row late."""

QUEUED_STRIPS = 4
"""Strips that fit into a `RowQueue` before what it holds is moved to its beginning."""


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


class StripEncoder(nn.Module):
    """The way down of a U-Net, on one strip of rows.

    Args:
        unet: batch norm folded into its convolutions; weights are shared with it.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(c for block in (*unet.encoder, unet.bottom) for c in _convolutions(block))
        self.stages: list[Stage] = []
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


class StripDecoder(nn.Module):
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
        self.stages: list[Stage] = []
        self.waits: list[int] = []
        """By how many rows each skip connection waits for the decoder, from the finest on."""
        self.skip_channels: list[int] = []
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
    """Rows that come in at the bottom and are read ``wait`` rows later.

    Args:
        wait: how many; what is read before anything has come is zero.
        rows: of the highest strip.
        width: of a row.
        channels: of a row.
        dtype: of a row.
        device: of a row.
    """

    def __init__(
        self, wait: int, rows: int, width: int, channels: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._wait = self._end = wait
        self._rows = torch.zeros((1, wait + QUEUED_STRIPS * rows, width, channels), dtype=dtype, device=device)

    def place(self, rows: int) -> Tensor:
        """Where the next ``rows`` rows go: a contiguous view to write into."""
        if self._end + rows > self._rows.shape[1]:
            # Copied first: source and goal may overlap.
            self._rows[:, : self._wait] = self._rows[:, self._end - self._wait : self._end].clone()
            self._end = self._wait
        self._end += rows
        return self._rows[:, self._end - rows : self._end]

    def delayed(self, rows: int) -> Tensor:
        """As many rows as were placed last, from ``wait`` rows above: a contiguous view."""
        stop = self._end - self._wait
        return self._rows[:, stop - rows : stop]


class LevelStream:
    """One level's network on a band of columns, fed strip by strip from the top.

    Args:
        encoder: of the level; its dtype and device are computed in and on.
        decoder: of the level.
        runner: computes them.
        width: of the band in px, a multiple of ``2 ** depth``.
        height: of the padded mosaic in px of the level, likewise.
        rows: of the highest strip, likewise.
    """

    def __init__(
        self, encoder: StripEncoder, decoder: StripDecoder, runner: StripRunner, width: int, height: int, rows: int
    ) -> None:
        self.delay = decoder.delay
        self._encoder, self._decoder, self._runner, self._height = encoder, decoder, runner, height
        weight = next(encoder.parameters())
        self._dtype, self._device = weight.dtype, weight.device
        self._fed = 0

        def zeros(stage: Stage) -> Tensor:
            shape = (1, stage.channels, stage.kept, width >> stage.pooling)
            return weight.new_zeros(shape).contiguous(memory_format=torch.channels_last)

        self._kept_down: Tensors = [zeros(s) for s in encoder.stages if s.kept]
        self._kept_up: Tensors = [zeros(s) for s in decoder.stages if s.kept]
        self._queues = [
            RowQueue(wait, rows >> pooling, width >> pooling, channels, self._dtype, self._device)
            for pooling, (wait, channels) in enumerate(zip(decoder.waits, decoder.skip_channels, strict=True))
        ]

    def feed(self, x: Tensor) -> Tensor:
        """Logits of a strip that lies `delay` rows above the one given.

        Args:
            x: ``(1, C_in, rows, width)``, the rows below those given before; zero below the mosaic.

        Returns:
            ``(1, classes, rows, width)``; rows above the mosaic are meaningless.
        """
        rows = x.shape[2]
        inside = self._fed >= self.delay and self._fed + rows <= self._height
        down: Tensors = [] if inside else [self._mask(s, rows) for s in self._encoder.stages]
        up: Tensors = [] if inside else [self._mask(s, rows) for s in self._decoder.stages]
        places = [queue.place(rows >> pooling) for pooling, queue in enumerate(self._queues)]
        deepest, self._kept_down = self._runner("encoder", x.to(self._dtype), places, self._kept_down, down)
        skips = [queue.delayed(rows >> pooling) for pooling, queue in enumerate(self._queues)]
        logits, self._kept_up = self._runner("decoder", deepest, skips, self._kept_up, up)
        self._fed += rows
        return logits

    def _mask(self, stage: Stage, rows: int) -> Tensor:
        first = (self._fed >> stage.pooling) - stage.delay
        place = torch.arange(first, first + (rows >> stage.pooling), device=self._device)
        mask = (place >= 0) & (place < self._height >> stage.pooling)
        return mask.to(self._dtype)[None, None, :, None]


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
        stream = self.stream(level, width, plan.frame[0], plan.rows)
        for strip in plan.strips(stream.delay):
            logits = stream.feed(read(strip))
            done = Span(strip.start - stream.delay, strip.stop - stream.delay)
            rows = done.clipped(plan.covered[0])
            if len(rows):
                yield rows, logits[:, :, rows.within(done)]

    def stream(self, level: int, width: int, height: int, rows: int) -> LevelStream:
        """Begins a band of a level at its top; arguments as for `LevelStream`."""
        runner = self._runner(level, width)
        return LevelStream(self._encoders[level], self._decoders[level], runner, width, height, rows)

    @abstractmethod
    def _runner(self, level: int, width: int) -> StripRunner:
        """What computes strips of one level and width."""


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

    def _runner(self, level: int, width: int) -> StripRunner:
        encoder, decoder = self._encoders[level], self._decoders[level]

        def run(part: Part, x: Tensor, skips: Tensors, kept: Tensors, masks: Tensors) -> tuple[Tensor, Tensors]:
            with convolution_arithmetic(self.device):
                if part == "decoder":
                    logits, *rest = decoder(x, *skips, *kept, *masks)
                    return logits, rest
                deepest, *rest = encoder(x.contiguous(memory_format=torch.channels_last), *kept, *masks)
            for place, skip in zip(skips, rest, strict=False):
                place.copy_(skip)
            return deepest, rest[len(skips) :]

        return run


def folded(model: Network) -> Network:
    """A copy in eval mode, without gradients, in which each batch norm that follows a convolution is part of it."""
    dtype = next(model.parameters()).dtype
    model = copy.deepcopy(model).eval().requires_grad_(False).double()  # folded in float64: one rounding, not three
    for sequence in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index], sequence[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return model.to(dtype)
