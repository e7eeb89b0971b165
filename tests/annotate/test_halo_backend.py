"""Strips with a halo equal one pass over the whole, for networks that are not run convolution by convolution."""

from dataclasses import replace

import pytest
import torch

from rcm_cascade.annotate.backends import AnnotationOptions, HaloBackend, open_backend
from rcm_cascade.annotate.engine import annotate_image, level_pieces, plan
from rcm_cascade.data.intensity import measure
from rcm_cascade.errors import InputError
from rcm_cascade.models import Network
from rcm_cascade.models.registry import DESIGNS
from tests.annotate.telling import MIN_SHARE, class_shares, noise, telling_design, whole

PEER = {"network": "dynunet", "levels": 1, "base_depth": 3}


def peer(dtype: torch.dtype = torch.float64) -> Network:
    return telling_design(dtype, **PEER)


@pytest.mark.parametrize(
    ("shape", "tile"), [((1, 1), 8), ((37, 1), 8), ((70, 93), 16), ((203, 61), 32), ((48, 160), 8), ((90, 90), None)]
)
def test_streamed_equals_whole(shape: tuple[int, int], tile: int | None) -> None:
    image = noise(*shape, seed=1)
    backend = open_backend(peer(), precision="fp32")
    assert isinstance(backend, HaloBackend)
    expected = whole(peer(), image)[0]
    found = torch.full_like(expected, torch.nan)

    for piece in level_pieces(backend, image, measure(image), plan(backend, shape, tile)):
        found[:, piece.rows, piece.cols] = piece.logits

    assert image.size < 4 or expected.std() > 0.1
    assert float((found - expected).abs().max()) < 1e-10


def test_the_network_can_tell() -> None:
    assert class_shares(whole(peer(), noise(120, 140, seed=2))[0]).min() >= MIN_SHARE


def test_a_halo_too_small_is_told_from_the_right_one() -> None:
    image = noise(203, 61, seed=1)
    backend = open_backend(peer(), precision="fp32")
    expected = whole(peer(), image)[0]
    plans = plan(backend, image.shape, 32)
    (level,) = backend.geometry
    assert level.halo > 24
    backend.geometry = (replace(level, reach=24),)
    found = torch.full_like(expected, torch.nan)

    for piece in level_pieces(backend, image, measure(image), plans):
        found[:, piece.rows, piece.cols] = piece.logits

    assert float((found - expected).abs().max()) > 1e-6


def test_labels_come_out_and_the_model_stays_as_it_is() -> None:
    model, image = peer(torch.float32), noise(70, 93, seed=3)

    annotation = annotate_image(model, image, AnnotationOptions(precision="fp32"))

    assert annotation.backend == "torch"
    agree = (torch.from_numpy(annotation.labels) == whole(model, image)[0].argmax(0)).double().mean()
    assert agree > 0.9999


def test_openvino_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="--backend torch"):
        open_backend(peer(torch.float32), "openvino")


@pytest.mark.parametrize("design", [*DESIGNS])
def test_it_is_exact_for_every_design(design: str) -> None:
    """So a reach that a new design states too small does not go unnoticed."""
    model, image = telling_design(torch.float64, design=design), noise(150, 93, seed=4)
    backend = HaloBackend(model, "fp64")
    expected = whole(model, image)
    found = [torch.full_like(level, torch.nan) for level in expected]

    for piece in level_pieces(backend, image, measure(image), plan(backend, image.shape, 32)):
        found[piece.level][:, piece.rows, piece.cols] = piece.logits

    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 1e-10
