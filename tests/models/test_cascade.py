import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rcm_cascade.models import CascadeArguments, CascadedUNet, UNet
from rcm_cascade.models.registry import read_arguments


def small(**arguments: object) -> CascadedUNet:
    torch.manual_seed(0)
    return CascadedUNet(base_filters=2, num_classes=3, **arguments).eval()  # type: ignore[arg-type]


def head(network: CascadedUNet) -> nn.Conv2d:
    """The coarsest level's."""
    found = network.levels[0].head
    assert isinstance(found, nn.Conv2d)
    return found


def test_the_papers_form() -> None:
    network = CascadedUNet()
    assert sum(p.numel() for p in network.parameters()) == 5_717_634
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in network.modules()) == 54
    assert [g.depth for g in network.geometry] == [2, 3, 4]
    assert [g.factor for g in network.geometry] == [4, 2, 1]
    assert [g.halo for g in network.geometry] == [24, 48, 96]
    assert network.alignment == 16


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 17), (32, 48), (33, 31)])
def test_every_size_is_accepted_and_level_i_is_that_much_smaller(size: tuple[int, int]) -> None:
    outputs = small()(torch.rand(1, 1, *size))
    expected = [(-(-size[0] // f), -(-size[1] // f)) for f in (4, 2, 1)]
    assert [tuple(o.shape[-2:]) for o in outputs] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": 1, "base_depth": 4},
        {"levels": 2},
        {"levels": 4, "base_depth": 1},
        {"depth_increment": 0},
        {"base_depth": 3, "depth_increment": -1},
    ],
)
def test_any_number_of_levels_and_any_depths(arguments: dict[str, int]) -> None:
    network = small(**arguments)
    outputs = network(torch.rand(1, 1, 40, 24))
    assert len(outputs) == network.arguments.levels
    assert outputs[-1].shape == (1, 3, 40, 24)


def test_padding_is_once_at_full_resolution_by_replication() -> None:
    network = small()
    image = torch.rand(1, 1, 19, 30)
    padded = F.pad(image, (0, 2, 0, 13), mode="replicate")
    with torch.no_grad():
        for cut, whole in zip(network(image), network(padded), strict=True):
            assert torch.equal(cut, whole[..., : cut.shape[-2], : cut.shape[-1]])


def test_one_level_is_the_plain_unet() -> None:
    network = small(levels=1, base_depth=3)
    level = network.levels[0]
    assert isinstance(level, UNet)
    image = torch.rand(1, 1, 16, 24)
    with torch.no_grad():
        assert torch.equal(network(image)[0], level(image))


def test_each_level_sees_the_coarser_prediction() -> None:
    network = small()
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before = network(image)
        head(network).weight *= -100
        after = network(image)
    assert all(not torch.allclose(b, a) for b, a in zip(before, after, strict=True))


def test_prior_is_softmax_or_logits() -> None:
    logits = torch.randn(1, 3, 4, 4)
    assert torch.allclose(small().as_prior(logits).sum(dim=1), torch.ones(1, 4, 4))
    assert torch.equal(small(prior="logits").as_prior(logits), logits)


@pytest.mark.parametrize(("detach", "flows"), [(False, True), (True, False)])
def test_detached_prior_stops_the_gradient(detach: bool, flows: bool) -> None:
    network = small(detach_prior=detach)
    network(torch.rand(1, 1, 32, 32))[-1].square().sum().backward()
    gradient = head(network).weight.grad
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) is flows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": 0}, "levels is 0"),
        ({"prior": "argmax"}, "softmax, logits"),
        ({"base_depth": 2, "depth_increment": -1}, "depth of 1 or more"),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CascadedUNet(**arguments)  # type: ignore[arg-type]


def test_arguments_round_trip_as_plain_types() -> None:
    arguments = CascadeArguments(num_classes=3, prior="logits")
    assert read_arguments(arguments.to_plain()) == arguments
    assert arguments.build().arguments == arguments


def test_the_prediction_of_a_cascade_is_its_finest_level_s() -> None:
    network, image = small(), torch.rand(2, 1, 19, 30)
    with torch.no_grad():
        assert torch.equal(network.predict(image), network(image)[-1])
