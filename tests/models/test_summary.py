from contextlib import nullcontext
from dataclasses import replace
from math import fsum

import pytest
import torch

from rcm_cascade.models import Arguments, CascadeArguments
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.models.ensemble import EnsembleArguments
from rcm_cascade.models.summary import Matched, fewest_normed, matched, summarise_network


def test_the_papers_form_in_numbers() -> None:
    levels = summarise_network(CascadeArguments())
    assert [level.parameters for level in levels] == [262_902, 1_085_670, 4_369_062]
    assert sum(level.convolutions for level in levels) == 54
    assert [level.reach for level in levels] == [22, 46, 94]
    # 269 GFLOP for 2^20 px
    assert sum(level.gflop_per_mp for level in levels) * 1.048576 == pytest.approx(269, abs=0.5)


def test_operations_of_one_known_layer_chain() -> None:
    """A U-Net of depth 1 with one filter, by hand: multiply-adds a pixel at full and half resolution."""
    (level,) = summarise_network(CascadeArguments(num_classes=1, levels=1, base_depth=1, base_filters=1))
    full = 9 * (1 + 1 + 2 + 1) + 1  # two encoder, two decoder convolutions, the head
    half = 9 * (2 + 4) + 2 * 4  # the bottom; the transposed convolution: 2 channels to 1, 4 taps
    assert level.gflop_per_mp == pytest.approx(2 * (full + half / 4) * 1e6 / 1e9)


def amounts(arguments: Arguments) -> dict[Matched, float]:
    levels = summarise_network(arguments)
    return {
        "parameters": fsum(level.parameters for level in levels),
        "flops": fsum(level.gflop_per_mp for level in levels),
    }


@pytest.mark.parametrize("quantity", ["parameters", "flops"])
@pytest.mark.parametrize(
    "plain", [CascadeArguments(levels=1, base_depth=4), DynUNetArguments(base_depth=4)], ids=["unet", "dynunet"]
)
def test_no_other_number_of_filters_is_nearer(quantity: Matched, plain: Arguments) -> None:
    cascade = CascadeArguments(base_filters=24)

    found = matched(plain, quantity)

    wanted = amounts(cascade)[quantity]
    assert abs(amounts(found)[quantity] / wanted - 1) < 0.05
    for other in (found.base_filters - 1, found.base_filters + 1):
        distance = abs(amounts(replace(found, base_filters=other))[quantity] - wanted)
        assert distance >= abs(amounts(found)[quantity] - wanted)


def test_the_papers_form_matches_itself() -> None:
    assert matched(CascadeArguments(base_filters=9), "parameters") == CascadeArguments(base_filters=9)


def test_a_shallow_network_gets_as_many_filters_as_it_takes() -> None:
    shallow = CascadeArguments(levels=1, base_depth=2, base_filters=8)
    found = matched(shallow, "parameters")
    assert found.base_filters > 3 * 8
    wanted = fsum(level.parameters for level in summarise_network(CascadeArguments(base_filters=8)))
    assert fsum(level.parameters for level in summarise_network(found)) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(
    "arguments",
    [CascadeArguments(base_filters=2), EnsembleArguments(base_filters=2), DynUNetArguments(base_filters=2)],
    ids=lambda arguments: arguments.design,
)
@pytest.mark.parametrize(("batch", "side", "values"), [(1, 16, 1), (2, 16, 2), (1, 32, 4)])
def test_the_batch_norm_that_sees_fewest_values(arguments: Arguments, batch: int, side: int, values: int) -> None:
    assert fewest_normed(arguments, batch, side) == (1, values)
    image = torch.rand(batch, 1, side, side)
    with nullcontext() if values > 1 else pytest.raises(ValueError, match="more than 1 value per channel"):
        arguments.build().train()(image)
