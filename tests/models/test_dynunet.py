import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from rcm_cascade.errors import InputError
from rcm_cascade.models.dynunet import DynUNetArguments, DynUNetPeer
from rcm_cascade.models.unet import unet_reach


def peer(depth: int = 3) -> DynUNetPeer:
    torch.manual_seed(0)
    return DynUNetPeer(DynUNetArguments(num_classes=3, base_depth=depth, base_filters=4))


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (32, 40)])
def test_in_training_each_supervised_resolution_comes_out_and_in_eval_the_last(size: tuple[int, int]) -> None:
    network, image = peer(), torch.rand(2, 1, *size)

    training = network.train()(image)
    evaluated = network.eval()(image)

    assert [tuple(o.shape[2:]) for o in training] == [(-(-size[0] // f), -(-size[1] // f)) for f in (4, 2, 1)]
    assert [tuple(o.shape) for o in evaluated] == [(2, 3, *size)]
    assert network.arguments.output_factors == (4, 2, 1)


def test_what_comes_out_coarse_is_the_head_s_own_output() -> None:
    network = peer().train()
    seen: list[Any] = []
    level = network.levels[0]
    assert isinstance(level.deep_supervision_heads, nn.ModuleList)
    for head in level.deep_supervision_heads:
        head.register_forward_hook(lambda module, given, output: seen.append(output))

    outputs = network(torch.rand(1, 1, 32, 48))

    coarse = {tuple(s.shape): s for s in seen}
    assert torch.equal(outputs[0], coarse[1, 3, 8, 12])
    assert torch.equal(outputs[1], coarse[1, 3, 16, 24])


def test_there_is_no_norm_whose_statistics_a_tile_would_change() -> None:
    norms = [m for m in peer().modules() if "norm" in type(m).__name__.lower()]

    assert norms
    assert all(isinstance(m, nn.BatchNorm2d) for m in norms)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_reach_is_the_one_measured(depth: int) -> None:
    network = peer(depth).eval().double()
    for module in network.modules():  # only positive weights, so that nothing cancels
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data.abs_()
    start = 2**depth * -(-unet_reach(depth, strided=True) // 2**depth)
    image = torch.rand(1, 1, 2 * start + 2**depth, 2**depth, dtype=torch.float64, requires_grad=True)

    network(image)[0][:, :, start : start + 2**depth].sum().backward()

    assert image.grad is not None
    rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert start - int(rows.min()) == unet_reach(depth, strided=True)
    assert int(rows.max()) - (start + 2**depth - 1) <= unet_reach(depth, strided=True)


def test_without_monai_it_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(InputError, match=r"rcm-cascade\[bench\]"):
        peer()
