import pytest
import torch
from torch import nn

from rcm_cascade.models import UNet
from rcm_cascade.models.unet import BConv, unet_reach


def test_output_has_the_inputs_size_and_a_channel_a_class() -> None:
    network = UNet(in_channels=2, num_classes=5, base_filters=3, depth=3)
    assert network(torch.zeros(2, 2, 16, 24)).shape == (2, 5, 16, 24)


def test_bconv_is_convolution_batch_norm_relu() -> None:
    assert [type(m) for m in BConv(1, 2)] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_unaligned_input_is_refused_with_the_multiple() -> None:
    with pytest.raises(ValueError, match="multiples of 4 px"):
        UNet(1, 2, 2, depth=2)(torch.zeros(1, 1, 6, 8))


@pytest.mark.parametrize(("depth", "reach"), [(2, 22), (3, 46), (4, 94)])
def test_reach_is_what_was_measured_on_the_papers_levels(depth: int, reach: int) -> None:
    assert unet_reach(depth) == reach


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reach_is_exact(depth: int) -> None:
    """All weights positive and no normalisation: an output changes exactly where a changed pixel can reach it."""
    network = UNet(1, 1, 1, depth).double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    side, start = 512, 256
    assert start % 2**depth == 0
    reach = unet_reach(depth)
    image = torch.rand(1, 1, 1, side, dtype=torch.float64).expand(1, 1, 8 * 2**depth, side).contiguous() + 1

    def tile(changed: int) -> torch.Tensor:
        other = image.clone()
        other[..., changed] += 1000
        with torch.no_grad():
            output: torch.Tensor = network(other)
        return output[..., start:]

    with torch.no_grad():
        expected = network(image)[..., start:]
    assert torch.equal(tile(start - reach - 1), expected)
    assert not torch.equal(tile(start - reach), expected)
