from dataclasses import replace
from math import fsum

import pytest

from rcm_cascade.models import Arguments, CascadeArguments
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.models.matching import Matched, matched
from rcm_cascade.models.summary import summarise_network


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
