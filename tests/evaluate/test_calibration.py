import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate.engine import LevelPiece
from rcm_cascade.evaluate import calibration
from rcm_cascade.evaluate.calibration import (
    LogitSample,
    LogitSampler,
    expected_calibration_error,
    fit_temperature,
    measure_calibration,
    negative_log_likelihood,
    pixels_per_mosaic,
    reliability,
)


def two_classes(confidences: list[float], rights: list[bool]) -> LogitSample:
    """Pixels of two classes whose first has the larger probability, given to as many digits as float32 has."""
    p = np.array(confidences)
    logits = np.stack([np.log(p), np.log1p(-p)], axis=1).astype(np.float32)
    return LogitSample(logits, np.where(rights, 0, 1).astype(np.uint8))


def drawn(temperature: float, pixels: int = 60_000, seed: int = 0) -> LogitSample:
    """Pixels of six classes, drawn from the probabilities that their logits give when divided by a temperature."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (pixels, 6))
    probabilities = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    truth = (rng.random((pixels, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=5)
    assert len(np.unique(truth)) == 6
    return LogitSample((true * temperature).astype(np.float32), truth.astype(np.uint8))


def test_calibration_error_by_hand() -> None:
    sure = two_classes([0.95] * 6 + [0.62] * 4, [True] * 6 + [True, False, False, False])
    rows = reliability(sure)
    assert len(rows) == 15
    filled = {i: row for i, row in enumerate(rows) if row["pixels"]}
    assert list(filled) == [9, 14]
    assert (filled[9]["low"], filled[9]["high"]) == (9 / 15, 10 / 15)
    assert (filled[9]["pixels"], filled[9]["accuracy"]) == (4, 0.25)
    assert filled[9]["confidence"] == pytest.approx(0.62, abs=1e-6)
    assert rows[0] == {"low": 0.0, "high": 1 / 15, "pixels": 0, "confidence": None, "accuracy": None}
    # six pixels miss by .05, four by .37
    assert expected_calibration_error(rows) == pytest.approx((6 * 0.05 + 4 * 0.37) / 10, abs=1e-6)


def test_bins_hold_their_upper_edge() -> None:
    even = LogitSample(np.zeros((3, 2), np.float32), np.array([0, 0, 1], np.uint8))  # a confidence of exactly one half
    certain = LogitSample(np.array([[200, 0]], np.float32), np.array([0], np.uint8))
    assert [row["pixels"] for row in reliability(even, bins=2)] == [3, 0]
    assert [row["pixels"] for row in reliability(certain)][-1] == 1


def test_likelihood_by_hand_and_of_logits_beyond_what_exp_holds() -> None:
    sample = two_classes([0.9, 0.6], [True, False])
    assert negative_log_likelihood(sample) == pytest.approx(-(math.log(0.9) + math.log(0.4)) / 2, abs=1e-6)
    odds = math.sqrt(0.9 / 0.1), math.sqrt(0.6 / 0.4)
    at_two = -(math.log(odds[0] / (1 + odds[0])) + math.log(1 / (1 + odds[1]))) / 2
    assert negative_log_likelihood(sample, 2) == pytest.approx(at_two, abs=1e-6)
    huge = LogitSample(np.array([[3000, 0], [0, 3000]], np.float32), np.array([0, 0], np.uint8))
    assert negative_log_likelihood(huge) == pytest.approx(1500)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_miscalibrated_set_is_found(temperature: float) -> None:
    sample = drawn(temperature)

    found = fit_temperature(sample)

    assert found == pytest.approx(temperature, rel=0.02)
    least = negative_log_likelihood(sample, found)
    assert least <= min(negative_log_likelihood(sample, found * f) for f in (0.97, 1.03))
    numbers = measure_calibration(sample, found)
    assert numbers["ece_at_temperature"] < 0.01
    if temperature != 1:
        assert numbers["ece"] > 0.05
        assert numbers["nll"] > numbers["nll_at_temperature"] + 0.01


def test_the_temperature_is_in_the_numbers_of_its_name() -> None:
    sample = drawn(2.0, pixels=1000)
    measured = measure_calibration(sample, 1.5)
    assert measured["reliability_at_temperature"] == reliability(sample, 1.5) != measured["reliability"]
    assert measured["nll"] == negative_log_likelihood(sample) != measured["nll_at_temperature"]
    assert measured["pixels"] == 1000
    assert measured["temperature"] == 1.5


def test_a_network_without_an_error_has_a_temperature_within_bounds() -> None:
    sample = drawn(1.0, pixels=500)
    right = LogitSample(sample.logits, sample.logits.argmax(axis=1).astype(np.uint8))
    assert fit_temperature(right) == pytest.approx(calibration.TEMPERATURES[0], rel=0.01)


def test_without_a_labelled_pixel_nothing_is_measured() -> None:
    nothing = LogitSample(np.zeros((0, 6), np.float32), np.zeros(0, np.uint8))
    assert fit_temperature(nothing) == 1.0
    numbers = measure_calibration(nothing, 1.0)
    assert (numbers["pixels"], numbers["bins"], numbers["temperature"]) == (0, 15, 1.0)
    assert numbers["ece"] is numbers["ece_at_temperature"] is numbers["nll"] is numbers["nll_at_temperature"] is None
    json.dumps(numbers, allow_nan=False)


def mosaic(shape: tuple[int, int], seed: int = 0) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """Labels of three classes, about half of them missing, and logits that tell each pixel."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(shape) < 0.5, rng.integers(0, 3, shape), 255).astype(np.uint8)
    return labels, torch.from_numpy(rng.normal(size=(3, *shape)))


def pieces(logits: torch.Tensor, rows: int, cols: int) -> list[LevelPiece]:
    """The finest level of ``(C, H, W)``, cut, last pieces first, each after one of a coarser level."""
    cut = []
    for top in range(0, logits.shape[1], rows):
        for left in range(0, logits.shape[2], cols):
            part = logits[:, top : top + rows, left : left + cols]
            place = slice(top, top + part.shape[1]), slice(left, left + part.shape[2])
            cut += [LevelPiece(1, *place, part, part), LevelPiece(0, *place, part + 9, None)]
    return cut[::-1]


@pytest.mark.parametrize(("limit", "step"), [(10_000, 1), (500, 2), (60, 6)])
def test_labelled_pixels_of_a_regular_grid_are_kept(limit: int, step: int) -> None:
    labels, logits = mosaic((50, 67))
    sampler = LogitSampler(labels, 3, limit)

    for piece in pieces(logits, 8, 15):
        sampler.observe(piece)

    sample = sampler.sample()
    grid = labels[::step, ::step]
    assert sampler.step == step
    assert 10 < len(sample.truth) == (grid != 255).sum() <= limit
    assert np.array_equal(sample.truth, grid[grid != 255])
    expected = logits[:, ::step, ::step].numpy()[:, grid != 255].T.astype(np.float32)
    assert sample.logits.dtype == np.float32
    assert np.array_equal(sample.logits, expected)


def test_a_pixel_that_comes_again_replaces_what_it_was() -> None:
    labels, logits = mosaic((30, 40), seed=1)
    sampler = LogitSampler(labels, 3)
    for piece in pieces(logits + 5, 7, 40)[3:]:
        sampler.observe(piece)
    for piece in pieces(logits, 4, 11):
        sampler.observe(piece)
    assert np.array_equal(sampler.sample().logits, logits.numpy()[:, labels != 255].T.astype(np.float32))


def test_a_pixel_that_never_came_is_not_passed_over() -> None:
    labels, logits = mosaic((30, 40), seed=2)
    sampler = LogitSampler(labels, 3)
    for piece in pieces(logits, 8, 40)[2:]:  # without the last rows
        sampler.observe(piece)
    missing = int((labels[24:] != 255).sum())
    with pytest.raises(ValueError, match=rf"^{missing} of {(labels != 255).sum()} labelled pixels"):
        sampler.sample()


def test_logits_that_are_no_numbers_are_left_out() -> None:
    labels, logits = mosaic((20, 20), seed=3)
    logits[1, :5] = torch.nan
    logits[2, 19] = torch.inf
    sampler = LogitSampler(labels, 3)
    for piece in pieces(logits, 8, 8):
        sampler.observe(piece)
    sample = sampler.sample()
    assert np.isfinite(sample.logits).all()
    assert len(sample.truth) == (labels[5:19] != 255).sum()


@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (1, 1)])
def test_a_line_of_pixels_is_sampled_too(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    sampler = LogitSampler(labels, 3, 50)
    for piece in pieces(torch.zeros(3, *shape), 8, 8):
        sampler.observe(piece)
    assert len(sampler.sample().truth) == min(50, labels.size)


def test_a_mosaic_without_labels_gives_an_empty_sample_that_joins_others() -> None:
    labels, logits = mosaic((20, 20), seed=4)
    empty, full = LogitSampler(np.full((9, 9), 255, np.uint8), 3), LogitSampler(labels, 3)
    for piece in pieces(logits, 8, 8):
        full.observe(piece)
    joined = LogitSample.join([empty.sample(), full.sample(), full.sample()])
    assert joined.logits.shape == (2 * len(full.sample().truth), 3)
    assert np.array_equal(joined.truth[: len(full.sample().truth)], full.sample().truth)


def test_many_mosaics_share_what_may_be_kept() -> None:
    assert pixels_per_mosaic(1) == pixels_per_mosaic(8) == 250_000
    assert pixels_per_mosaic(20) == 100_000
    assert pixels_per_mosaic(10**9) == 1
