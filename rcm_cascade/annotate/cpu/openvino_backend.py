"""Levels run by OpenVINO, about twice as fast as PyTorch on a processor without a GPU."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import StripBackend
from rcm_cascade.annotate.cpu.openvino_graph import decoder_graph, encoder_graph
from rcm_cascade.annotate.cpu.streaming import StripRunner
from rcm_cascade.models import CascadedUNet

HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's name of the arithmetic; int8 is in the graph itself, and float32 what is left of it."""

NARROW: Final = 1024
"""Px; the graphs of bands up to this wide are kept from one mosaic to the next."""

KEPT_RUNNERS: Final = 8
"""A cascade of four levels, for mosaics of two widths."""

Build = Callable[[int, int, bool], ov.Model]
"""A graph for strips of a width and height, with or without masks."""


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

    def __init__(self, model: CascadedUNet, precision: str) -> None:
        super().__init__(model, precision)
        self._core = core()
        self._ready: dict[tuple[int, int], OpenVinoRunner] = {}

    def _runner(self, level: int, width: int) -> StripRunner:
        # Graphs hold their activations: of wide bands, one level's at a time. Narrow mosaics, of which a data set may
        # have hundreds of one size, keep every level's, for compiling takes longer than running.
        key = level, width
        if key not in self._ready:
            if len(self._ready) >= KEPT_RUNNERS or max(w for _, w in [key, *self._ready]) > NARROW:
                self._ready.clear()
            self._ready[key] = OpenVinoRunner(self._compile, *self._builds(level), width)
        return self._ready[key]

    def _builds(self, level: int) -> tuple[Build, Build]:
        """How graphs of a level's encoder and decoder are made."""
        return partial(encoder_graph, self._encoders[level]), partial(decoder_graph, self._decoders[level])

    def _compile(self, graph: ov.Model) -> ov.InferRequest:
        options = {"INFERENCE_PRECISION_HINT": HINTS[self.precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return self._core.compile_model(graph, "CPU", options).create_infer_request()


class OpenVinoRunner(StripRunner):
    """One level's graphs for bands of one width, compiled when they are first asked for.

    Args:
        compile_graph: makes a request of a graph.
        encoder: makes graphs.
        decoder: makes graphs.
        width: of a band in px.
    """

    def __init__(
        self, compile_graph: Callable[[ov.Model], ov.InferRequest], encoder: Build, decoder: Build, width: int
    ) -> None:
        self._compile, self._encoder, self._decoder, self._width = compile_graph, encoder, decoder, width
        self._requests: dict[tuple[Build, int, bool], ov.InferRequest] = {}

    def encode(
        self, x: Tensor, kept: Sequence[Tensor], masks: Sequence[Tensor], skips: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """See `StripRunner.encode`."""
        request = self._request(self._encoder, x.shape[2], bool(masks))
        for index, place in enumerate(skips):
            request.set_output_tensor(1 + index, _shared(place))
        deepest, *rest = self._run(request, (x, *kept, *masks), skip=len(skips))
        return deepest, rest

    def decode(
        self, x: Tensor, skips: Sequence[Tensor], kept: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """See `StripRunner.decode`."""
        request = self._request(self._decoder, skips[0].shape[1], bool(masks))
        logits, *rest = self._run(request, (x, *skips, *kept, *masks))
        return logits, rest

    def _request(self, build: Build, rows: int, masked: bool) -> ov.InferRequest:
        key = build, rows, masked
        if key not in self._requests:
            self._requests[key] = self._compile(build(self._width, rows, masked))
        return self._requests[key]

    def _run(self, request: ov.InferRequest, inputs: Sequence[Tensor], skip: int = 0) -> list[Tensor]:
        # Held until it has run: a request does not own the memory of its tensors.
        held = [_shared(tensor) for tensor in inputs]
        for index, tensor in enumerate(held):
            request.set_input_tensor(index, tensor)
        request.infer()
        count = len(request.model_outputs)
        kept = [0, *range(1 + skip, count)]
        # Copies: the request writes into the same memory the next time.
        return [torch.from_numpy(np.array(request.get_output_tensor(index).data)) for index in kept]


def _shared(tensor: Tensor) -> ov.Tensor:
    array: NDArray[np.float32] = tensor.contiguous().numpy()
    return ov.Tensor(array, shared_memory=True)
