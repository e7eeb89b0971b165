"""What must hold on a GPU: it computes what a processor computes. ``RCM_CASCADE_TEST_DEVICE=cuda pytest -m gpu``."""

import copy
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate import annotate_image
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, HaloBackend, convolution_arithmetic
from rcm_cascade.annotate.starter import starter_path
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.commands.train import run
from rcm_cascade.data.augment import Augmentation, ChangeRange, augment
from rcm_cascade.data.formats import read_image
from rcm_cascade.models import Network
from rcm_cascade.models.checkpoint import CheckpointHeader, load_checkpoint
from rcm_cascade.models.registry import read_arguments
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.training.loss import LossArguments
from rcm_cascade.training.module import CascadeModule, OptimArguments
from rcm_cascade.training.passes import compiled_forward, compiler_warnings, recompute_activations
from tests.annotate.telling import network_input, noise, telling_design
from tests.conftest import TEST_DEVICE
from tests.running import tiny

pytestmark = pytest.mark.gpu

AGREEING: Final = 0.97
"""Share of the labels that bf16 must leave as they are in fp32."""


@pytest.fixture(scope="module")
def device() -> torch.device:
    name = os.environ.get(TEST_DEVICE)
    if not name:
        pytest.skip(f"{TEST_DEVICE} is not set: it names the device to test (cuda, or cpu to rehearse)")
    return torch.device(name)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """float32 as it says, without TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@cache
def starter() -> Network:
    """A trained network."""
    return load_checkpoint(starter_path()).network


def on(device: torch.device, network: Network) -> Network:
    return copy.deepcopy(network).to(device)


def backend(device: torch.device, network: Network, precision: str) -> HaloBackend:
    """The GPU's backend, which a rehearsal runs on the processor."""
    return HaloBackend(on(device, network), precision)


@pytest.fixture(scope="module")
def tissue(phantoms: Path) -> NDArray[np.uint8]:
    image = read_image(min((phantoms / "mosaics").iterdir()))
    assert image.dtype == np.uint8
    return image.astype(np.uint8)


@pytest.mark.parametrize("design", ["cascade", "ensemble"])
def test_outputs_are_the_processors(device: torch.device, design: str) -> None:
    network = telling_design(torch.float32, design=design)
    x = network_input(noise(180, 212, seed=4), torch.float32)
    with torch.inference_mode(), convolution_arithmetic(device):
        found = on(device, network)(x.to(device))
        for one, other in zip(found, network(x), strict=True):
            scale = float(other.abs().max())
            assert float((one.cpu() - other).abs().max()) < 1e-4 * max(scale, 1.0)


@pytest.mark.parametrize("design", ["cascade", "ensemble"])
@pytest.mark.parametrize("tile", [None, 64])
def test_strips_and_tiles_give_what_one_pass_gives(device: torch.device, design: str, tile: int | None) -> None:
    network = telling_design(torch.float32, design=design)
    image = noise(250, 310, seed=5)
    with torch.inference_mode():
        expected = network.predict(network_input(image, torch.float32))[0].argmax(0).numpy()
    found = annotate_image(backend(device, network, "fp32"), image, AnnotationOptions(tile=tile))
    assert len(np.unique(expected)) == 6
    assert (found.labels != expected).mean() <= 1e-4
    assert found.device.startswith(device.type)


def test_bfloat16_keeps_the_labels_of_a_trained_network(device: torch.device, tissue: NDArray[np.uint8]) -> None:
    labels = [annotate_image(backend(device, starter(), precision), tissue).labels for precision in ("fp32", "bf16")]
    assert len(np.unique(labels[0])) > 2
    assert (labels[0] == labels[1]).mean() >= AGREEING


def test_files_are_annotated_on_it(device: torch.device, phantoms: Path) -> None:
    annotated = Annotator.load(starter_path(), device.type).annotate(min((phantoms / "mosaics").iterdir()))
    assert annotated.annotation.device.startswith(device.type)
    assert len(np.unique(annotated.labels)) > 2


def test_where_memory_runs_out_smaller_strips_give_the_same_labels(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("a processor's memory has no limit to set; tests/annotate/test_engine.py lets it run out")
    network = starter()
    image = noise(2048, 3072, seed=6)
    expected = annotate_image(backend(device, network, "fp32"), image)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + 300e6) / total, device)
    try:
        with pytest.warns(RuntimeWarning, match="memory ran out; going on in strips"):
            found = annotate_image(backend(device, network, "fp32"), image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert (found.labels != expected.labels).mean() <= 1e-4
    assert found.tile[-1] < expected.tile[-1]


def module(device: torch.device, **arguments: Any) -> CascadeModule:
    torch.manual_seed(0)
    model = read_arguments({"design": "cascade", "num_classes": 6, "base_filters": 4, **arguments})
    return CascadeModule(CheckpointHeader(model, RCM_CLASSES, 1.0), LossArguments(), OptimArguments()).to(device)


def batch(device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 6, (4, 8, 8), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    image = labels[:, None] / 5 + 0.3 * torch.randn(4, 1, 64, 64, generator=generator)
    return image.to(device), torch.where(labels == 5, 255, labels).to(torch.uint8).to(device)


def gradients(trained: CascadeModule) -> tuple[list[float], list[Tensor]]:
    """Each level's loss of one step, and the gradients of all weights, on the processor."""
    image, labels = batch(next(trained.parameters()).device)
    with compiler_warnings():
        losses = trained.losses((trained.learn or trained.network)(image), labels)
        trained.total(losses).backward()  # type: ignore[no-untyped-call]
    grads = [p.grad.cpu() for p in trained.network.parameters() if p.grad is not None]
    assert len(grads) == len(list(trained.network.parameters()))
    return [float(loss.detach()) for loss in losses], grads


def assert_equal(found: tuple[list[float], list[Tensor]], expected: tuple[list[float], list[Tensor]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    for one, other in zip(found[1], expected[1], strict=True):
        assert float((one - other).norm()) <= 2e-3 * float(other.norm()) + 1e-5


@pytest.mark.parametrize("design", ["cascade", "ensemble"])
def test_losses_and_gradients_are_the_processors(device: torch.device, design: str) -> None:
    expected = gradients(module(torch.device("cpu"), design=design))
    assert_equal(gradients(module(device, design=design)), expected)


def test_activations_computed_again_give_the_same_gradients(device: torch.device) -> None:
    plain, again = module(device), module(device)
    recompute_activations(again.network)
    assert_equal(gradients(again), gradients(plain))


def test_compiled_it_learns_the_same(device: torch.device) -> None:
    plain, compiled = module(device, levels=2), module(device, levels=2)
    compiled.learn = compiled_forward(compiled.network)
    assert_equal(gradients(compiled), gradients(plain))


def test_augmentation_is_the_processors(device: torch.device) -> None:
    change = Augmentation(
        intensity={name: ChangeRange(0.2) for name in ("gain", "gamma", "illumination", "blur", "speckle", "noise")}
    )
    side = change.read_side(64)
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 256, (8, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 6, (8, side // 8 + 1, side // 8 + 1), dtype=torch.uint8, generator=generator)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :side, :side].contiguous()
    drawn = torch.utils.data.default_collate([change.draw(np.random.default_rng(seed)) for seed in range(8)])
    grey, ids = augment(image, labels, drawn, 64)
    there, ids_there = augment(
        image.to(device), labels.to(device), {name: value.to(device) for name, value in drawn.items()}, 64
    )
    assert float((there.cpu() - grey).abs().max()) < 0.1
    assert (ids_there.cpu() != ids).float().mean() <= 1e-4  # a sample on the border of two pixels may round apart


def test_a_run_is_resumed_and_averaged_as_it_would_have_gone_on(
    device: torch.device, phantoms: Path, tmp_path: Path
) -> None:
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    common = [f"trainer.accelerator={accelerator}", "optim.ema=0.9", "trainer.precision=fp32", "data.num_workers=0"]
    seed_everything(0, verbose=False)
    for folder, epochs in (("whole", 2), ("parts", 1)):
        run(compose_config(tiny(phantoms, *common, f"trainer.max_epochs={epochs}")), tmp_path / folder)
    run(compose_config(tiny(phantoms, *common, "trainer.max_epochs=2", "extend=true")), tmp_path / "parts")
    whole, parts = (
        load_checkpoint(tmp_path / folder / "checkpoints" / "last.ckpt").network.state_dict()
        for folder in ("whole", "parts")
    )
    for name, weights in whole.items():
        torch.testing.assert_close(parts[name], weights, rtol=0.05, atol=5e-3)
