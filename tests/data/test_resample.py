import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.data import resample
from rcm_cascade.data.resample import (
    ResolutionWarning,
    area_resample,
    majority_resample,
    nearest_resample,
    resampled_shape,
    resize_image,
)
from rcm_cascade.errors import InputError
from rcm_cascade.training.loss import pool_labels

Maker = Callable[..., NDArray[Any]]


def overlap(before: int, after: int) -> NDArray[np.float64]:
    """The part of each new pixel that each old one covers, from the definition."""
    edges = np.arange(after + 1) * before / after
    low, high = edges[:-1, None], edges[1:, None]
    old = np.arange(before)
    shared: NDArray[np.float64] = np.clip(np.minimum(high, old + 1) - np.maximum(low, old), 0, None) / (high - low)
    return shared


@pytest.mark.parametrize(
    ("shape", "to"), [((64, 48), (32, 12)), ((61, 47), (40, 33)), ((50, 70), (7, 70)), ((9, 200), (1, 3))]
)
def test_images_become_area_averages(make_texture: Maker, shape: tuple[int, int], to: tuple[int, int]) -> None:
    image = make_texture(*shape)
    exact = overlap(shape[0], to[0]) @ image.astype(np.float64) @ overlap(shape[1], to[1]).T
    resized = resize_image(image, to)
    assert resized.dtype == np.uint8
    assert np.abs(resized - exact).max() < 0.51


def test_by_pixel_size(make_texture: Maker) -> None:
    image = make_texture(100, 130)
    assert area_resample(image, 0.5, 1.0).shape == (50, 65)
    assert area_resample(image, 0.13, 0.2).shape == (65, 84)  # 84.5 to the even side
    assert area_resample(image, 0.5, 500.0).shape == (1, 1)
    assert area_resample(image, 1.0, 1.0) is image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert area_resample(image, 1.0001, 1.0) is image  # not a pixel's difference: nothing to warn of


def test_enlarging_warns_and_is_bilinear(make_texture: Maker) -> None:
    image = make_texture(30, 40)
    with pytest.warns(ResolutionWarning, match="image has pixels of 2 µm and is enlarged 2 times to 1 µm"):
        large = area_resample(image, 2.0, 1.0)
    assert large.shape == (60, 80)
    between = (image[:, :-1] * 0.75 + image[:, 1:] * 0.25) * 0.75
    between[:-1] += (image[1:, :-1] * 0.75 + image[1:, 1:] * 0.25) * 0.25
    assert np.abs(large[1:-1:2, 1:-1:2] - between[:-1]).max() < 1.01


def test_enlarging_has_a_limit() -> None:
    with pytest.warns(ResolutionWarning):
        assert resampled_shape((10, 10), 4.0, 1.0) == (40, 40)
    with pytest.raises(
        InputError, match=r"m\.tif has pixels of 4\.1 µm and would be enlarged 4\.1 times to 1 µm, expected 4"
    ):
        resampled_shape((10, 10), 4.1, 1.0, "m.tif")


def brute_force(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    votes = np.stack(
        [
            overlap(labels.shape[0], shape[0])
            @ (labels == id_).astype(np.float64)
            @ overlap(labels.shape[1], shape[1]).T
            for id_ in range(3)
        ]
    )
    votes = votes.round(9)
    winners: NDArray[np.uint8] = votes.argmax(0).astype(np.uint8)
    down, across = overlap(labels.shape[0], shape[0]) > 0, overlap(labels.shape[1], shape[1]) > 0
    for i, j in np.argwhere((votes == votes.max(0)).sum(0) > 1):  # the first of the tied ones in scan order
        tied = np.flatnonzero(votes[:, i, j] == votes[:, i, j].max())
        seen = labels[down[i]][:, across[j]].reshape(-1)
        winners[i, j] = next((id_ for id_ in seen if id_ in tied), 255)
    winners[votes.max(0) < 1e-9] = 255
    return winners


SHAPES = [
    ((64, 48), (32, 24)),
    ((64, 48), (16, 12)),
    ((61, 47), (40, 33)),
    ((61, 47), (60, 13)),
    ((61, 47), (61, 20)),
    ((30, 30), (41, 55)),
    ((30, 30), (60, 90)),
    ((30, 40), (45, 20)),
    ((64, 48), (1, 1)),
]


@pytest.mark.parametrize(("shape", "to"), SHAPES)
@pytest.mark.parametrize("strip", [2**22, 150])
def test_labels_by_majority_of_labelled_area(
    make_labels: Maker, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], to: tuple[int, int], strip: int
) -> None:
    monkeypatch.setattr(resample, "_STRIP", strip)
    labels = make_labels(*shape, seed=1)
    noisy = np.random.default_rng(0).random(shape) < 0.3
    labels[noisy] = np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), noisy.sum())
    result = majority_resample(labels, to)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, brute_force(labels, to))
    if to != (1, 1):
        assert len(np.unique(result)) == 4


def test_one_labelled_pixel_outvotes_the_unlabelled_and_ties_go_to_the_first_seen() -> None:
    labels = np.full((6, 4), 255, np.uint8)
    labels[0, 0] = 7
    labels[2:4, 0], labels[2:4, 1] = 5, 3  # two against two
    labels[2, 2], labels[3, 2:4] = 1, 254
    np.testing.assert_array_equal(majority_resample(labels, (3, 2)), [[7, 255], [5, 254], [255, 255]])


def test_long_averages_count_every_pixel() -> None:
    labels = np.zeros((1000, 1000), np.uint8)
    labels[:500] = 1
    assert majority_resample(labels, (1, 1))[0, 0] == 1  # as many of both, and they come first
    labels[499, :20] = 0
    assert majority_resample(labels, (1, 1))[0, 0] == 0


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_targets_of_training_are_pooled_by_the_same_rule(make_labels: Maker, factor: int) -> None:
    labels = make_labels(72, 96, seed=3)
    noisy = np.random.default_rng(2).random(labels.shape) < 0.6  # ties in many blocks
    labels[noisy] = np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), noisy.sum())
    pooled = pool_labels(torch.from_numpy(labels)[None], factor, 3)[0].numpy()
    np.testing.assert_array_equal(majority_resample(labels, (72 // factor, 96 // factor)), pooled)


def test_nearest_by_pixel_centres(make_labels: Maker) -> None:
    labels = make_labels(30, 41)
    for shape in [(60, 82), (15, 20), (47, 61), (1, 1), (30, 41)]:
        rows = ((np.arange(shape[0]) + 0.5) * 30 / shape[0]).astype(int)
        columns = ((np.arange(shape[1]) + 0.5) * 41 / shape[1]).astype(int)
        result = nearest_resample(labels, shape)
        np.testing.assert_array_equal(result, labels[np.ix_(rows, columns)])
        assert result.dtype == np.uint8
    np.testing.assert_array_equal(nearest_resample(nearest_resample(labels, (90, 123)), (30, 41)), labels)
