import pytest

from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.summary import summarise_network


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
