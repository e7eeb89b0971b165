import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.training.passes import compiled_forward, compiler_warnings, recompute_activations


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """One thread, and nothing kept from what was compiled before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch.set_num_threads(threads)


def small() -> CascadedUNet:
    torch.manual_seed(0)
    return CascadedUNet(num_classes=3, levels=1, base_depth=1, base_filters=2)


@pytest.mark.slow
def test_it_learns_the_same_and_a_smaller_batch_is_not_compiled() -> None:
    plain, network = small(), small()
    forward = compiled_forward(network)
    images = torch.randn(3, 1, 32, 32)
    for batch in (images, images[:1], images):
        expected, found = plain(batch)[-1], forward(batch)[-1]
        with compiler_warnings():  # the backward pass is compiled when it is first taken
            for output in (expected, found):
                output.square().sum().backward()
        assert torch.allclose(found, expected, atol=1e-5)
        assert (type(found.grad_fn).__name__ == "CompiledFunctionBackward") == (len(batch) == 3)
    for one, other in zip(plain.parameters(), network.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-3 * float(one.grad.abs().max()))
    assert network.state_dict().keys() == plain.state_dict().keys()
    copy.deepcopy(network)


@pytest.mark.slow
def test_each_of_many_networks_is_compiled() -> None:
    with compiler_warnings():
        from torch._dynamo import config
    with config.patch(recompile_limit=1):
        for filters in (2, 3):
            network = CascadedUNet(num_classes=3, levels=1, base_depth=1, base_filters=filters)
            found = compiled_forward(network)(torch.randn(2, 1, 32, 32))[-1]
            assert type(found.grad_fn).__name__ == "CompiledFunctionBackward"


def test_without_a_compiler_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with compiler_warnings():
        from torch._inductor import config
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that a compiler has already made
    says = r"cannot compile the network here \(.*No working C\+\+ compiler.*\); train with trainer.compile=false$"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(InputError, match=says):
        compiled_forward(small())(torch.randn(2, 1, 32, 32))


def learn(network: CascadedUNet, steps: int = 2) -> int:
    """Some steps of gradient descent; bytes of the activations that were kept at most."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    image = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        optimiser.zero_grad()
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = sum((output.square().mean() for output in network(image)), torch.zeros(()))
        loss.backward()
        optimiser.step()
    return sum(kept.values())


@pytest.mark.parametrize("synchronised", [False, True])
def test_it_learns_the_same_from_less_memory(synchronised: bool) -> None:
    torch.manual_seed(0)
    plain = CascadedUNet(num_classes=3, base_filters=4)
    if synchronised:  # as on several GPUs; by itself it computes on a processor, too
        plain = torch.nn.SyncBatchNorm.convert_sync_batchnorm(plain)  # type: ignore[no-untyped-call]
    saving = copy.deepcopy(plain)
    recompute_activations(saving)
    assert learn(saving) < 0.6 * learn(plain)
    state = saving.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(state[key], value), key


def test_a_network_without_unets_is_refused() -> None:
    pytest.importorskip("monai")
    network = DynUNetArguments(base_depth=2, base_filters=4).build()
    with pytest.raises(InputError, match="leave it false"):
        recompute_activations(network)
