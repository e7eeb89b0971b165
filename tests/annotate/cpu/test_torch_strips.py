from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from rcm_cascade.annotate.backends import folded, has_bf16, open_backend
from rcm_cascade.annotate.cpu.strips import StripDecoder, StripEncoder, TorchStripBackend
from rcm_cascade.models.unet import UNet
from tests.annotate.telling import telling_network


def strip_of(encoder: StripEncoder, rows: int, width: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """A strip, what was kept before and masks, of which some rows are 0."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    x = random(1, encoder.stages[0].channels, rows, width)
    kept = [random(1, s.channels, s.kept, width >> s.pooling) for s in encoder.stages]
    masks = [(random(1, 1, rows >> s.pooling, 1) > 0).double() for s in encoder.stages]
    return x, kept, masks


@pytest.mark.parametrize("masked", [False, True])
def test_a_strip_is_what_encoder_and_decoder_make_of_it(masked: bool) -> None:
    backend = TorchStripBackend(telling_network(), "fp64")
    level = folded(telling_network()).levels[1]
    assert isinstance(level, UNet)
    encoder = StripEncoder(level)
    decoder = StripDecoder(level, encoder)
    x, kept, masks = strip_of(encoder, 16, 24)
    masks = masks if masked else []
    generator = torch.Generator().manual_seed(1)
    kept_up = [
        torch.randn((1, s.channels, s.kept, 24 >> s.pooling), dtype=torch.float64, generator=generator)
        for s in decoder.stages
        if s.kept
    ]
    masks_up = [torch.ones((1, 1, 16 >> s.pooling, 1), dtype=torch.float64) for s in decoder.stages] if masked else []

    with torch.inference_mode():
        expected = encoder(x, *kept, *masks)
        assert_close(backend.compute(1, 24, "encoder", 16, masked, [x, *kept, *masks]), expected)

        deepest, *rest = expected
        given = [deepest, *rest[: len(decoder.waits)], *kept_up, *masks_up]
        assert_close(backend.compute(1, 24, "decoder", 16, masked, given), decoder(*given))


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert b.std() > 1e-3
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "precision", "compute"),
    [
        (torch.float32, "fp32", torch.float32),
        (torch.float64, "fp64", torch.float64),
        (torch.float32, "bf16", torch.bfloat16),
    ],
)
def test_a_level_computes_in_its_precision(dtype: torch.dtype, precision: str, compute: torch.dtype) -> None:
    backend = TorchStripBackend(telling_network(dtype), precision)

    assert (backend.compute_dtype, backend.prior_dtype, backend.dtype) == (compute, compute, dtype)
    assert all(p.dtype == compute for p in backend._encoders[2].parameters())
    assert all(p.dtype == compute for p in backend._decoders[2].parameters())
    with torch.inference_mode():
        logits = backend.stream(0, width=8, height=64).feed(torch.ones((1, 1, 32, 8), dtype=dtype))
    assert logits.dtype == compute
    assert next(telling_network(dtype).parameters()).dtype == dtype


def test_weights_are_channels_last() -> None:
    weights = [c.weight for c in TorchStripBackend(telling_network(), "fp64")._encoders[1].convolutions]
    assert len(weights) == 8
    assert all(isinstance(w, Tensor) and w.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_on_a_gpu_float32_is_not_computed_in_tf32() -> None:
    allowed = []

    class Watched(torch.nn.Module):
        def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            allowed.append(torch.backends.cudnn.allow_tf32)
            return tensors

    watched: Any = Watched()
    x = torch.ones(1, 1, 4, 4)
    before = torch.backends.cudnn.allow_tf32
    backend = TorchStripBackend(telling_network(torch.float32), "fp32")
    backend._encoders[0] = backend._decoders[0] = watched
    for device in ("cpu", "cuda"):
        backend.device = torch.device(device)
        backend.compute(0, 8, "encoder", 4, False, [x])
        backend.compute(0, 8, "decoder", 4, False, [x])

    assert allowed == [before, before, False, False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_bf16_stays_near_fp32() -> None:
    model = telling_network(torch.float32)
    if not has_bf16(torch.device("cpu")):
        with pytest.warns(RuntimeWarning, match="no bfloat16 arithmetic"):
            backend = open_backend(model, backend="torch", precision="bf16")
    else:
        backend = open_backend(model, backend="torch", precision="bf16")
    assert isinstance(backend, TorchStripBackend)
    x = torch.zeros((1, 1, 96, 16))
    x[:, :, :64] = torch.randn((1, 1, 64, 16), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        stream = backend.stream(0, width=16, height=64)
        found = torch.cat([stream.feed(s) for s in x.tensor_split([32, 64], dim=2)], dim=2)[:, :, 22 : 22 + 64].float()
        expected = model.levels[0](x[:, :, :64])
    assert expected.std() > 0.1
    assert 0 < (found - expected).abs().max() < 0.1 * expected.std()
