"""U-Nets run by OpenVINO, about twice as fast as PyTorch on a processor without a GPU.

Encoder and decoder of a level are graphs of one strip's shape. OpenVINO's own conversion of a PyTorch module takes over
a second for each, so the modules run on `GraphTensor`, which takes hundredths.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final

import numpy as np
import openvino as ov
import torch
import torch.nn.functional as F
from openvino import opset13 as ops
from torch import Tensor

from rcm_cascade.annotate.backends import Read
from rcm_cascade.annotate.cpu.strips import Part, StripBackend, StripCoder, Tensors
from rcm_cascade.annotate.tiling import LevelPlan, Span
from rcm_cascade.models import Network

HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's name of the arithmetic; int8 is in the graph itself, and float32 what is left of it."""

STREAMS: Final = 2
"""Bands that run at a time, each on its share of the threads: they wait for each other once a level, not in each
convolution, and PyTorch's part of one runs beside OpenVINO's of another."""

NARROW: Final = 1024
"""Px; the graphs of bands up to this wide keep their memory from one mosaic to the next."""

PARTS: Final[tuple[Part, ...]] = ("encoder", "decoder")

KEPT_SIZES: Final = 8
"""Whose graphs are kept: a cascade of four levels, for mosaics of two sizes. Compiling takes a second or two."""

END: Final = np.iinfo(np.int64).max

Node = Any
"""OpenVINO ships no types for its nodes."""

Pair = tuple[int, int]

Size = tuple[int, int, int, int]
"""Level, width, rows of a strip, bands at a time."""

Key = tuple[int, int, Part, int, bool]
"""Level, width, part, rows, masked."""


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
        self._threads = torch.get_num_threads()
        self.streams = min(STREAMS, self._threads)
        self._band = _Band()
        self._ready: dict[Size, dict[tuple[Part, bool], Future[ov.CompiledModel]]] = {}
        self._latest: Size | None = None
        self._making = threading.Lock()
        self._compiling = ThreadPoolExecutor(self._threads, "compile")

    def run(self, level: int, plan: LevelPlan, width: int, read: Read) -> Iterator[tuple[Span, Tensor]]:
        """See `Backend.run`."""
        self._band.begin(self.at_once(len(plan.bands)))
        yield from super().run(level, plan, width, read)
        self._band.begin()  # what it held is free

    def compute(self, level: int, width: int, part: Part, rows: int, masked: bool, inputs: Tensors) -> Tensors:
        """See `StripBackend.compute`."""
        request = self._band.request((level, width, part, rows, masked), partial(self._compiled, self._band.streams))
        arrays = [x.contiguous().numpy() for x in inputs]
        # `LevelStream` reads what an encoder gives before it runs again; logits go further, so they are copied.
        outputs = request.infer(arrays, share_inputs=True, share_outputs=part == "encoder")
        return [torch.from_numpy(array) for array in outputs.to_tuple()]

    def _compiled(self, streams: int, level: int, width: int, part: Part, rows: int, masked: bool) -> ov.CompiledModel:
        size = level, width, rows, streams
        with self._making:
            graphs = self._ready.setdefault(size, {})
            if size != self._latest:
                self._make_room(size)
            for each in PARTS:  # compiled at a time: the other is needed next
                known = graphs.get((each, masked))
                if known is None or (known.done() and known.exception()):  # what memory was lacking for is tried again
                    graphs[each, masked] = self._compiling.submit(self._compile, size, each, masked)
        return graphs[part, masked].result()

    def _make_room(self, size: Size) -> None:
        # Graphs hold their activations: of wide bands, only the level's that runs. Narrow mosaics, of which a data set
        # may have hundreds of one size, keep theirs.
        self._latest = size
        while len(self._ready) > KEPT_SIZES:
            del self._ready[next(iter(self._ready))]
        for (_, width, _, _), graphs in self._ready.items():
            if width > NARROW:
                for graph in [g for g in graphs.values() if not g.exception()]:
                    graph.result().release_memory()
        _trim()

    def graph(self, level: int, part: Part, width: int, rows: int, masked: bool) -> ov.Model:
        """What computes strips of one shape; arguments as for `compute` and `StripCoder.shapes`."""
        return strip_graph(self.coder(level, part), width, rows, masked)

    def _compile(self, size: Size, part: Part, masked: bool) -> ov.CompiledModel:
        level, width, rows, streams = size
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # it would pin streams of two graphs, which run at a time, to one core
        }
        return core().compile_model(self.graph(level, part, width, rows, masked), "CPU", options)


def _trim() -> None:
    """Gives freed memory back to the system, which the C library keeps for each thread that has ever asked."""
    with suppress(AttributeError, OSError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)


class _Band(threading.local):
    """The band that a thread is at: its requests, which hold what its graphs gave last, and how many bands run."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, streams: int = 1) -> None:
        self.streams = streams
        self._requests: dict[Key, ov.InferRequest] = {}

    def request(self, key: Key, compiled: Callable[..., ov.CompiledModel]) -> ov.InferRequest:
        if key not in self._requests:
            self._requests[key] = compiled(*key).create_infer_request()
        return self._requests[key]


class GraphTensor:
    """Stands in for a tensor while a `StripCoder` runs: each operation adds a node to a graph.

    PyTorch hands its functions over to arguments with ``__torch_function__``; those that strips need are `OPERATIONS`.
    """

    def __init__(self, node: Node) -> None:
        self.node = node

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: object, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
    ) -> "GraphTensor":
        """See PyTorch's "Extending torch with a Tensor-like type"."""
        return cls(OPERATIONS[function](*args, **(kwargs or {})))

    def __mul__(self, other: "GraphTensor") -> "GraphTensor":
        return GraphTensor(ops.multiply(self.node, other.node))

    def __getitem__(self, place: tuple[slice, slice, slice]) -> "GraphTensor":
        """Some rows, from the end where that is how they are asked for: the graph can be reshaped to other strips."""
        rows = place[2]
        start, stop = rows.start or 0, END if rows.stop is None else rows.stop
        return GraphTensor(ops.slice(self.node, *(np.array([value]) for value in (start, stop, 1, 2))))

    def permute(self, *axes: int) -> "GraphTensor":
        """As of a tensor."""
        return GraphTensor(ops.transpose(self.node, np.array(axes)))


def _convolution(
    x: GraphTensor, weight: Tensor, bias: Tensor, stride: Pair = (1, 1), padding: Pair = (0, 0), *_: object
) -> Node:
    x = ops.convolution(x.node, _constant(weight), stride, padding, padding, [1, 1])
    return ops.add(x, _constant(bias.reshape(1, -1, 1, 1)))


def _up_convolution(x: GraphTensor, weight: Tensor, bias: Tensor, stride: Pair, *_: object) -> Node:
    x = ops.convolution_backprop_data(
        x.node, _constant(weight), stride, pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1]
    )
    return ops.add(x, _constant(bias.reshape(1, -1, 1, 1)))


def _constant(values: Tensor) -> Node:
    return ops.constant(values.detach().numpy())


OPERATIONS: Final[Mapping[Callable[..., Any], Callable[..., Node]]] = {
    torch.cat: lambda tensors, dim: ops.concat([x.node for x in tensors], dim),
    F.relu: lambda x, **_: ops.relu(x.node),
    F.conv2d: _convolution,
    F.conv_transpose2d: _up_convolution,
    F.max_pool2d: lambda x, size, **_: ops.max_pool(x.node, [size] * 2, [1, 1], [0, 0], [0, 0], [size] * 2).output(0),
}
"""What PyTorch's functions are in a graph, for the arguments that U-Nets have."""


def strip_graph(coder: StripCoder, width: int, rows: int, masked: bool) -> ov.Model:
    """A `StripCoder`, float32, for strips of one shape; arguments as for `StripCoder.shapes`."""
    parameters = [ops.parameter(shape, np.float32) for shape in coder.shapes(width, rows, masked)]
    outputs = coder(*(GraphTensor(parameter) for parameter in parameters))
    return ov.Model([ops.result(x.node) for x in outputs], parameters)
