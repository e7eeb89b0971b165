import pytest
import torch
from torch import nn

from rcm_cascade.models import UNet
from rcm_cascade.training.module import stage_norms, stage_of


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(1, 3, base_filters=2, depth=2)


def test_the_stages_of_a_unet_hold_all_of_its_gradient() -> None:
    level = unet()
    level(torch.rand(2, 1, 16, 16)).square().mean().backward()

    norms = stage_norms(level)

    assert list(norms) == ["encoder1", "encoder2", "bottom", "decoder1", "decoder2", "head"]
    whole = torch.cat([p.grad.flatten() for p in level.parameters() if p.grad is not None]).norm()
    assert torch.linalg.vector_norm(torch.stack(list(norms.values()))) == pytest.approx(float(whole), rel=1e-6)
    bottom = torch.cat([p.grad.flatten() for p in level.bottom.parameters() if p.grad is not None]).norm()
    assert float(norms["bottom"]) == pytest.approx(float(bottom), rel=1e-6)
    assert len({float(n) for n in norms.values()}) == len(norms)


def test_a_stage_without_gradient_has_norm_zero() -> None:
    level = unet()
    assert level.head.bias is not None
    level.head.bias.grad = torch.ones_like(level.head.bias)

    norms = stage_norms(level)

    assert float(norms["head"]) == pytest.approx(3**0.5)
    assert float(norms["encoder1"]) == 0


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("encoder.0.1.0.weight", "encoder1"),
        ("up.1.weight", "decoder2"),
        ("decoder.1.0.0.weight", "decoder2"),
        ("head.bias", "head"),
        ("input_block.conv1.conv.weight", "input_block"),
    ],
)
def test_names_of_stages(name: str, stage: str) -> None:
    assert stage_of(name) == stage


def test_a_network_that_has_no_such_stages_is_told_by_its_children() -> None:
    level = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    level(torch.rand(4, 2)).sum().backward()

    assert list(stage_norms(level)) == ["0", "1"]
