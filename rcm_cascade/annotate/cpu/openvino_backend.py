"""U-Nets run by OpenVINO, about twice as fast as PyTorch on a processor without a GPU.

Encoder and decoder of a level are graphs of one strip's shape, built operation by operation, because OpenVINO's own
conversion of a PyTorch module takes over a second for each.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as ops
from torch import nn

from rcm_cascade.annotate.cpu.strips import (
    KEPT_ROWS,
    Part,
    Stage,
    StripBackend,
    StripDecoder,
    StripEncoder,
    StripRunner,
    Tensors,
)
from rcm_cascade.models import Network

HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's name of the arithmetic; int8 is in the graph itself, and float32 what is left of it."""

NARROW: Final = 1024
"""Px; the graphs of bands up to this wide are kept from one mosaic to the next."""

KEPT_RUNNERS: Final = 8
"""A cascade of four levels, for mosaics of two widths."""

END: Final = np.iinfo(np.int64).max

Build = Callable[[int, int, bool], ov.Model]
"""A graph for strips of a width and height, with or without masks."""

Node = Any
"""OpenVINO ships no types for its nodes."""


@cache
def core() -> ov.Core:
    """OpenVINO, one for the whole process.

    A core that goes takes its plugin's library with it, and processes have crashed later that had loaded it several
    times.
    """
    return ov.Core()


class OpenVinoBackend(StripBackend):
    """OpenVINO on the CPU: a graph for each height of strip, without masks and, at the mosaic's border, with."""

    name = "openvino"

    def __init__(self, model: Network, precision: str) -> None:
        super().__init__(model, precision)
        self.compute_dtype = self.dtype  # in bfloat16, too, float32 goes in and comes out
        self._ready: dict[tuple[int, int], StripRunner] = {}

    def _runner(self, level: int, width: int) -> StripRunner:
        # Graphs hold their activations: of wide bands, one level's at a time. Narrow mosaics, of which a data set may
        # have hundreds of one size, keep every level's, for compiling takes longer than running.
        key = level, width
        if key not in self._ready:
            if len(self._ready) >= KEPT_RUNNERS or max(w for _, w in [key, *self._ready]) > NARROW:
                self._ready.clear()
            builds = self._builds(level)
            compiled = cache(lambda part, rows, masked: self._compile(builds[part](width, rows, masked)))
            self._ready[key] = partial(_run, compiled)
        return self._ready[key]

    def _builds(self, level: int) -> dict[Part, Build]:
        """How graphs of a level's encoder and decoder are made."""
        return {
            "encoder": partial(encoder_graph, self._encoders[level]),
            "decoder": partial(decoder_graph, self._decoders[level]),
        }

    def _compile(self, graph: ov.Model) -> ov.InferRequest:
        options = {"INFERENCE_PRECISION_HINT": HINTS[self.precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return core().compile_model(graph, "CPU", options).create_infer_request()


def _run(
    request_of: Callable[[Part, int, bool], ov.InferRequest], part: Part, rows: int, masked: bool, inputs: Tensors
) -> Tensors:
    """A `StripRunner`, with the request that computes strips of a height, with masks or without."""
    arrays = [x.contiguous().numpy() for x in inputs]
    # `LevelStream` reads what an encoder gives before the encoder runs again; logits go further, so they are copied.
    outputs = request_of(part, rows, masked).infer(arrays, share_inputs=True, share_outputs=part == "encoder")
    return [torch.from_numpy(array) for array in outputs.to_tuple()]


class _Graph:
    """Inputs and outputs of a graph in the order of `StripEncoder` and `StripDecoder`."""

    def __init__(self, stages: Sequence[Stage], width: int, rows: int) -> None:
        self._stages, self._width, self._rows = stages, width, rows
        self._parameters: list[Node] = []
        self._kept: list[Node] = []
        self._masks: list[Node] = []
        self._keeps: list[Node] = []

    def features(self, channels: int, pooling: int) -> Node:
        return self._parameter(1, channels, self._rows >> pooling, self._width >> pooling)

    def skip(self, channels: int, pooling: int) -> Node:
        shape = 1, self._rows >> pooling, self._width >> pooling, channels
        return ops.transpose(self._parameter(*shape), np.array([0, 3, 1, 2]))

    def state(self, masked: bool) -> None:
        """What convolutions kept, and masks: the inputs that come last."""
        for s in self._stages:
            if s.kept:
                self._kept.append(self._parameter(1, s.channels, s.kept, self._width >> s.pooling))
        if masked:
            self._masks = [self._parameter(1, 1, self._rows >> s.pooling, 1) for s in self._stages]

    def convolve(self, x: Node, convolution: nn.Module) -> Node:
        stage = [s for s in self._stages if s.kept][len(self._keeps)]
        wide = ops.concat([self._kept[len(self._keeps)], x], 2)
        # From the end, so that the graph can be reshaped to other strips.
        self._keeps.append(_rows_of(wide, -stage.kept, END))
        if stage.kept > KEPT_ROWS:
            wide = _rows_of(wide, 0, KEPT_ROWS - stage.kept)
        return self.masked(ops.relu(_convolution(wide, convolution, [0, 1])))

    def up(self, x: Node, up: nn.Module) -> Node:
        weight, bias = _weights(up)
        x = ops.convolution_backprop_data(x, weight, [2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1])
        return self.masked(ops.add(x, bias))

    def masked(self, x: Node) -> Node:
        return ops.multiply(x, self._masks.pop(0)) if self._masks else x

    def model(self, outputs: Sequence[Node], name: str) -> ov.Model:
        return ov.Model([ops.result(node) for node in (*outputs, *self._keeps)], self._parameters, name)

    def _parameter(self, *shape: int) -> Node:
        self._parameters.append(ops.parameter(shape, np.float32))
        return self._parameters[-1]


def encoder_graph(encoder: StripEncoder, width: int, rows: int, masked: bool) -> ov.Model:
    """`StripEncoder` for strips of one shape.

    Args:
        encoder: float32.
        width: of the band in px.
        rows: of the strip in px.
        masked: whether it takes masks, as at the mosaic's border.
    """
    stages = encoder.stages
    graph = _Graph(stages, width, rows)
    x = graph.features(stages[0].channels, 0)
    graph.state(masked)
    skips = []
    for index, (stage, convolution) in enumerate(zip(stages, encoder.convolutions, strict=True)):
        x = graph.convolve(x, convolution)
        if index + 1 < len(stages) and stages[index + 1].pooling > stage.pooling:
            skips.append(ops.transpose(x, np.array([0, 2, 3, 1])))
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    return graph.model([x, *skips], "encoder")


def decoder_graph(decoder: StripDecoder, width: int, rows: int, masked: bool) -> ov.Model:
    """`StripDecoder` for strips of one shape; arguments as for `encoder_graph`."""
    stages, depth = decoder.stages, len(decoder.up)
    graph = _Graph(stages, width, rows)
    x = graph.features(stages[0].channels, depth)
    skips = [graph.skip(channels, pooling) for pooling, channels in enumerate(decoder.skip_channels)]
    graph.state(masked)
    for level, up in enumerate(decoder.up):
        x = ops.concat([skips[depth - 1 - level], graph.up(x, up)], 1)
        for convolution in decoder.convolutions[level * decoder.per_block : (level + 1) * decoder.per_block]:
            x = graph.convolve(x, convolution)
    return graph.model([_convolution(x, decoder.head, [0, 0])], "decoder")


def _convolution(x: Node, convolution: nn.Module, pads: list[int]) -> Node:
    weight, bias = _weights(convolution)
    return ops.add(ops.convolution(x, weight, [1, 1], pads, pads, [1, 1]), bias)


def _weights(module: nn.Module) -> tuple[Node, Node]:
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    assert module.bias is not None
    bias = module.bias.detach().numpy().reshape(1, -1, 1, 1)
    return ops.constant(module.weight.detach().numpy()), ops.constant(bias)


def _rows_of(x: Node, start: int, stop: int) -> Node:
    return ops.slice(x, np.array([start]), np.array([stop]), np.array([1]), np.array([2]))
