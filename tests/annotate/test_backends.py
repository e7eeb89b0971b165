import pytest
import torch
from torch import nn

from rcm_cascade.annotate import backends
from rcm_cascade.annotate.backends import TorchBackend, folded, open_backend
from rcm_cascade.models import CascadedUNet
from tests.annotate.telling import telling_network


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    model = CascadedUNet(base_filters=1)
    with pytest.raises(ValueError, match="backend is 'tensorflow'; expected one of auto, torch"):
        open_backend(model, backend="tensorflow")
    with pytest.raises(ValueError, match="precision is 'fp8'; expected one of auto, fp32, bf16"):
        open_backend(model, precision="fp8")


def test_networks_that_cannot_be_run_are_refused() -> None:
    with pytest.raises(ValueError, match="3 input channels"):
        open_backend(CascadedUNet(base_filters=1, in_channels=3))
    with pytest.raises(ValueError, match=r"expected torch\.float32 or torch\.float64"):
        open_backend(CascadedUNet(base_filters=1).half())
    with pytest.raises(ValueError, match=r"'bf16' and the network has dtype torch\.float64"):
        open_backend(CascadedUNet(base_filters=1).double(), precision="bf16")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_the_processor_has_it(fast: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: fast)

    backend = open_backend(CascadedUNet(base_filters=1))

    assert isinstance(backend, TorchBackend)
    assert backend.precision == expected
    assert backend.prior_dtype == (torch.bfloat16 if fast else torch.float32)
    assert open_backend(CascadedUNet(base_filters=1), precision="fp32").precision == "fp32"
    assert open_backend(CascadedUNet(base_filters=1).double()).precision == "fp64"


def test_folding_leaves_no_batch_norm_and_the_same_function() -> None:
    model = telling_network(levels=1)
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    twin = folded(model)

    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in twin.modules())
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=1e-12)


def test_a_backend_keeps_the_weights_of_the_moment_it_was_made() -> None:
    model = CascadedUNet(base_filters=2, levels=1)
    backend = open_backend(model)
    x = torch.ones(1, 1, 8, 8)
    before = backend.logits(0, x)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    assert torch.equal(backend.logits(0, x), before)
