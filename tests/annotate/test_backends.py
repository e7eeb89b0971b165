from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from rcm_cascade.annotate import backends, cpu
from rcm_cascade.annotate.backends import Backend, folded, has_bf16, open_backend
from rcm_cascade.annotate.cpu import has_openvino
from rcm_cascade.annotate.cpu.strips import StripBackend, TorchStripBackend
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.unet import unet_reach
from tests.annotate.telling import telling_network


def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "has_openvino", lambda: False)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    model = CascadedUNet(base_filters=1)
    with pytest.raises(InputError, match="backend is 'tensorflow'; expected one of auto, torch, openvino"):
        open_backend(model, backend="tensorflow")
    with pytest.raises(InputError, match="precision is 'fp8'; expected one of auto, fp32, bf16"):
        open_backend(model, precision="fp8")


def test_openvino_is_refused_for_other_networks_than_float32_on_the_cpu() -> None:
    with pytest.raises(InputError, match=r"torch\.float64 on cpu; .* choose --backend torch"):
        open_backend(CascadedUNet(base_filters=1).double(), backend="openvino")
    with pytest.raises(InputError, match=r"torch\.float32 on meta; .* choose --backend torch"):
        open_backend(CascadedUNet(base_filters=1).to("meta"), backend="openvino")


def test_openvino_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    without_openvino(monkeypatch)

    with pytest.raises(InputError, match=r"not installed: pip install 'rcm-cascade\[openvino\]'"):
        open_backend(CascadedUNet(base_filters=1), backend="openvino")


def test_auto_takes_torch_where_openvino_does_not_suit_or_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_backend(CascadedUNet(base_filters=1).double()).name == "torch"
    without_openvino(monkeypatch)
    assert open_backend(CascadedUNet(base_filters=1)).name == "torch"


def test_whether_openvino_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = []

    def find_spec(name: str) -> object:
        looked_for.append(name)
        return found

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    found: object = None
    assert not has_openvino()
    found = object()
    assert has_openvino()
    assert looked_for == ["openvino", "openvino"]


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_the_processor_has_it(fast: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: fast)

    backend = open_backend(CascadedUNet(base_filters=1), backend="torch")

    assert isinstance(backend, TorchStripBackend)
    assert backend.precision == expected
    assert backend.prior_dtype == (torch.bfloat16 if fast else torch.float32)
    assert open_backend(CascadedUNet(base_filters=1), precision="fp32").precision == "fp32"
    assert open_backend(CascadedUNet(base_filters=1).double()).precision == "fp64"
    assert open_backend(CascadedUNet(base_filters=1).double()).prior_dtype == torch.float64


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_bf16_warns_where_the_processor_lacks_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_bf16", lambda device: False)
    with pytest.warns(RuntimeWarning, match=r"\(cpu\) has no bfloat16 arithmetic") as warnings:
        assert open_backend(CascadedUNet(base_filters=1), backend, precision="bf16").precision == "bf16"
    assert [w.filename for w in warnings] == [__file__]

    monkeypatch.setattr(backends, "has_bf16", lambda device: True)
    assert open_backend(CascadedUNet(base_filters=1), backend, precision="bf16").precision == "bf16"


def test_a_device_that_is_not_known_has_no_bf16() -> None:
    assert not has_bf16(torch.device("meta"))


def test_folding_leaves_no_batch_norm_and_the_same_function() -> None:
    model = telling_network(levels=1)
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    twin = folded(model)

    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in twin.modules())
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=1e-12)


def test_a_backend_knows_its_network() -> None:
    model = CascadedUNet(base_filters=3)
    backend = open_backend(model, backend="torch", precision="fp32")
    assert isinstance(backend, StripBackend)

    assert backend.geometry == model.geometry
    assert backend.alignment == model.alignment
    assert (backend.device, backend.dtype) == (torch.device("cpu"), torch.float32)
    assert [backend.stream(level, 64, 64).delay for level in range(3)] == [unet_reach(depth) for depth in (2, 3, 4)]


@torch.inference_mode()
def first_logits(backend: Backend) -> Tensor:
    assert isinstance(backend, StripBackend)
    stream = backend.stream(0, width=8, height=64)
    x = torch.randn((1, 1, 64, 8), generator=torch.Generator().manual_seed(1))
    return torch.cat([stream.feed(strip) for strip in x.tensor_split([32], dim=2)], dim=2)[:, :, stream.delay :]


def zeroed(model: CascadedUNet) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def shifted(model: CascadedUNet) -> None:
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            norm.running_mean += 1


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("change", [zeroed, shifted])
def test_a_backend_keeps_the_weights_of_the_moment_it_was_made(
    backend: str, change: Callable[[CascadedUNet], None]
) -> None:
    model = deepcopy(telling_network(levels=1)).float()
    made = open_backend(model, backend, precision="fp32")
    before = first_logits(made)
    assert before.std() > 1e-3

    change(model)

    assert torch.equal(first_logits(made), before)
    changed = first_logits(open_backend(model, backend, precision="fp32"))
    assert (changed - before).abs().max() > 1e-3
