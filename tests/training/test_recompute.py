import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet, build_network
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.training.recompute import recompute_activations


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
    network = build_network(DynUNetArguments(base_depth=2, base_filters=4))
    with pytest.raises(InputError, match="leave it false"):
        recompute_activations(network)
