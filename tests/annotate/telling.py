"""A network that can tell a wrong tiler from a right one, and images on which it does.

A default-initialised cascade predicts one class everywhere and hardly looks beyond its centre pixel. Here corner taps
weigh thirty times what centre taps do, so that the far end of the reach still counts; batch-norm statistics belong to
the images; and each class has its share of the pixels.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rcm_cascade.data.intensity import measure, normalise
from rcm_cascade.models import CascadedUNet, Network
from rcm_cascade.models.registry import read_arguments

CALIBRATION_SHAPE = (176, 208)
MIN_SHARE = 0.05
SEEDS = range(1, 20)


def noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """An image ``(height, width)`` uint8 with something to see at every level: noise of 1, 4 and 16 px grain."""
    generator = np.random.default_rng((seed, height, width))
    total = np.zeros((height, width))
    for grain in (1, 4, 16):
        coarse = generator.standard_normal((-(-height // grain), -(-width // grain)))
        total += np.kron(coarse, np.ones((grain, grain)))[:height, :width]
    image = np.clip(np.rint(128 + 35 * total), 0, 255).astype(np.uint8)
    assert image.size < 4 or len(np.unique(image)) > 2
    return image


def network_input(image: NDArray[np.uint8], dtype: torch.dtype) -> Tensor:
    """``(1, 1, H, W)`` as the network is given it in training: normalised over the whole image."""
    intensity = measure(image)
    return normalise(torch.from_numpy(image)[None, None].to(dtype), intensity.offset, intensity.scale)


def whole(model: Network, image: NDArray[np.uint8]) -> list[Tensor]:
    """What tiling must equal: one pass over the whole image, ``(C, h, w)`` for each level."""
    with torch.inference_mode():
        return [level[0] for level in model(network_input(image, next(model.parameters()).dtype))]


def class_shares(logits: Tensor) -> Tensor:
    """Share of the pixels that each class has, ``(C,)``, of logits ``(C, h, w)``."""
    return logits.argmax(0).flatten().bincount(minlength=len(logits)) / logits[0].numel()


def telling_network(dtype: torch.dtype = torch.float64, **arguments: Any) -> CascadedUNet:
    """A cascade in eval mode that can tell. Shared between tests: do not change it.

    Args:
        dtype: float64 or float32; the weights are the same.
        arguments: of `CascadedUNet`; 8 filters unless given.
    """
    model = telling_design(dtype, **arguments)
    assert isinstance(model, CascadedUNet)
    return model


@cache
def telling_design(dtype: torch.dtype = torch.float64, **arguments: Any) -> Network:
    """As `telling_network` for any design, with arguments as `read_arguments` takes them."""
    if dtype != torch.float32:
        return _copy(telling_design(torch.float32, **arguments), dtype)
    image = network_input(noise(*CALIBRATION_SHAPE, seed=0), torch.float32)
    for seed in SEEDS:
        model = _corner_heavy(seed, {"base_filters": 8, **arguments})
        if all(_calibrated(model, index, image).min() >= MIN_SHARE for index in range(len(model.levels))):
            return model.eval()
    raise AssertionError(f"no seed in {SEEDS} gives each class {MIN_SHARE:.0%} of the pixels at every level")


@torch.no_grad()
def _corner_heavy(seed: int, arguments: dict[str, Any]) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = read_arguments(arguments).build()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.weight[..., 1, 1] *= 0.1
            module.weight[..., ::2, ::2] *= 3
    return model


@torch.no_grad()
def _calibrated(model: Network, index: int, image: Tensor) -> Tensor:
    """Gives level ``index`` its batch-norm statistics, then a head of zero-mean logits; returns its class shares."""
    model.eval()
    level = model.levels[index].train()
    for norm in level.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # the plain mean over passes, of which there is one
            norm.reset_running_stats()
    model(image)
    level.eval()
    convolutions = [m for m in level.modules() if isinstance(m, nn.Conv2d)]
    head = next(m for m in convolutions if m.kernel_size == (1, 1))
    assert head.bias is not None
    head.bias -= model(image)[index].mean(dim=(0, 2, 3))
    return class_shares(model(image)[index][0])


def _copy(model: Network, dtype: torch.dtype) -> Network:
    twin = model.arguments.build()
    twin.load_state_dict(model.state_dict())
    return twin.to(dtype).eval()
