import torch
import torch.nn.functional as F

from rcm_cascade.models.cascade import upsample
from rcm_cascade.models.ensemble import EnsembleArguments, UNetEnsemble


def small() -> UNetEnsemble:
    torch.manual_seed(0)
    return UNetEnsemble(EnsembleArguments(base_filters=2, num_classes=3)).eval()


def test_independent_levels_see_the_image_alone_and_are_averaged() -> None:
    network = small()
    image = torch.rand(1, 1, 32, 48)
    with torch.no_grad():
        coarse, middle, fine = network(image)
        alone = network.levels[2](image)
        expected = upsample(upsample(coarse.softmax(1)) + middle.softmax(1)) + fine.softmax(1)

        assert torch.equal(fine, alone)
        torch.testing.assert_close(network.predict(image).exp(), expected / 3)
        assert not torch.equal(network.predict(image).argmax(1), fine.argmax(1)) or len(fine.argmax(1).unique()) == 1


def test_the_final_map_of_independent_levels_is_made_before_the_padding_is_cut() -> None:
    network, image = small(), torch.rand(1, 1, 19, 30)
    padded = F.pad(image, (0, 2, 0, 13), mode="replicate")
    with torch.no_grad():
        assert torch.equal(network.predict(image), network.predict(padded)[..., :19, :30])
