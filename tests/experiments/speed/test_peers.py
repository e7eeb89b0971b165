import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.speed import peers
from experiments.speed.peers import openvino_predictor, plain_predictor, sliding_window, torch_predictor
from tests.annotate.telling import network_input, noise, telling_network, whole

pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(count: int) -> Tensor:
    return torch.cat([network_input(noise(64, 80, seed=80 + i), torch.float32) for i in range(count)])


@pytest.fixture(scope="module")
def expected() -> Tensor:
    model = telling_network(torch.float32)
    with torch.inference_mode():
        logits: Tensor = model(pictures(3))[-1]
    assert logits.std() > 0.1
    return logits


@pytest.mark.parametrize("predictor", [lambda m: torch_predictor(m, "fp32"), plain_predictor], ids=["ours", "plain"])
def test_the_bare_network_in_torch(predictor: object, expected: Tensor) -> None:
    assert callable(predictor)
    assert (predictor(telling_network(torch.float32))(pictures(3)) - expected).abs().max() < 1e-4


def test_the_bare_network_in_openvino_fills_up_smaller_batches(expected: Tensor) -> None:
    pytest.importorskip("openvino")
    predict = openvino_predictor(telling_network(torch.float32), "fp32", (3, 1, 64, 80))

    full, single = predict(pictures(3)), predict(pictures(1))

    assert (full - expected).abs().max() < 1e-4
    assert single.shape == (1, 6, 64, 80)
    assert (single - expected[:1]).abs().max() < 1e-4
    assert (full - expected).abs().max() < 1e-4  # its own memory


def test_bf16_rounds(expected: Tensor) -> None:
    found = torch_predictor(telling_network(torch.float32), "bf16")(pictures(3))

    assert found.dtype == torch.float32
    assert (found - expected).abs().max() > 1e-4
    assert (found - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
def test_one_window_gives_the_network_s_labels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("monai")
    monkeypatch.setattr(peers, "ROI", 96)
    model, image = telling_network(torch.float32), noise(96, 96, seed=83)

    labels = sliding_window(network_input(image, torch.float32), plain_predictor(model), 0.25, mode)

    assert labels.dtype == np.uint8
    assert (labels == whole(model, image)[-1].argmax(0).numpy()).mean() > 0.999


def test_windows_overlap_as_asked_and_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("monai")
    monkeypatch.setattr(peers, "ROI", 64)
    model, image = telling_network(torch.float32), noise(128, 160, seed=84)
    seen: list[int] = []
    plain = plain_predictor(model)

    def predict(x: Tensor) -> Tensor:
        assert x.shape[1:] == (1, 64, 64)
        assert len(x) <= peers.BATCHES["cpu"]
        seen.append(len(x))
        return plain(x)

    labels = [sliding_window(network_input(image, torch.float32), predict, o, "gaussian") for o in (0.25, 0.5)]

    assert sum(seen) == 3 * 3 + 3 * 4  # steps of 48 and of 32 px
    assert all(found.shape == image.shape for found in labels)
    assert not np.array_equal(labels[0], labels[1])
    agree = [(found == whole(model, image)[-1].argmax(0).numpy()).mean() for found in labels]
    assert all(0.3 < share < 1 for share in agree)


def test_each_has_a_network_of_its_own_and_leaves_the_model() -> None:
    model = telling_network(torch.float32, levels=1)
    weight = next(p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1)
    strides = weight.stride()

    ours, plain = torch_predictor(model, "fp32"), plain_predictor(model)
    x = pictures(1)

    assert weight.stride() == strides
    assert (ours(x) - plain(x)).abs().max() < 1e-4
