"""A graph computes what the module computes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import folded
from rcm_cascade.annotate.cpu.strips import Stage, StripDecoder, StripEncoder
from rcm_cascade.models.unet import UNet
from tests.annotate.telling import telling_network

pytest.importorskip("openvino")

ROWS, WIDTH = 16, 24


def coders(level: int) -> tuple[StripEncoder, StripDecoder]:
    unet = folded(telling_network(torch.float32)).levels[level]
    assert isinstance(unet, UNet)
    encoder = StripEncoder(unet)
    return encoder, StripDecoder(unet, encoder)


class Inputs:
    """Random ones, of which each is different."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)

    def features(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def state(self, stages: Sequence[Stage], masked: bool) -> list[Tensor]:
        kept = [self.features(1, s.channels, s.kept, WIDTH >> s.pooling) for s in stages if s.kept]
        if not masked:
            return kept
        # Any numbers but 0 and 1, so that nothing vanishes and each mask is told from the others.
        masks = [self.features(1, 1, ROWS >> s.pooling, 1).abs() + 0.5 for s in stages]
        return [*kept, *masks]


def computed(graph: Any, inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    from rcm_cascade.annotate.cpu.openvino_backend import core

    request = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    request = request.create_infer_request()
    request.infer([x.numpy() for x in inputs])
    return [output.data.copy() for output in request.output_tensors]


def assert_same(found: Sequence[NDArray[np.float32]], expected: Sequence[Tensor]) -> None:
    assert [f.shape for f in found] == [tuple(e.shape) for e in expected]
    for a, b in zip(found, expected, strict=True):
        assert b.std() > 0.01
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_an_encoder_s_graph_gives_what_the_encoder_gives(level: int, masked: bool) -> None:
    from rcm_cascade.annotate.cpu.openvino_backend import strip_graph

    (encoder, _), inputs = coders(level), Inputs()
    given = [inputs.features(1, encoder.stages[0].channels, ROWS, WIDTH), *inputs.state(encoder.stages, masked)]
    with torch.inference_mode():
        expected = encoder(*given)

    assert_same(computed(strip_graph(encoder, WIDTH, ROWS, masked), given), expected)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_a_decoder_s_graph_gives_what_the_decoder_gives(level: int, masked: bool) -> None:
    from rcm_cascade.annotate.cpu.openvino_backend import strip_graph

    (_, decoder), inputs = coders(level), Inputs()
    depth = len(decoder.up)
    given = [
        inputs.features(1, decoder.stages[0].channels, ROWS >> depth, WIDTH >> depth),
        *(inputs.features(1, ROWS >> p, WIDTH >> p, c) for p, c in enumerate(decoder.skip_channels)),
        *inputs.state(decoder.stages, masked),
    ]
    with torch.inference_mode():
        expected = decoder(*given)

    assert_same(computed(strip_graph(decoder, WIDTH, ROWS, masked), given), expected)
