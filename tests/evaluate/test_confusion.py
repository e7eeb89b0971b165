import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.evaluate import confusion
from rcm_cascade.evaluate.confusion import (
    ConfusionMatrix,
    confusion_matrix,
    dice,
    macro_mean,
    pixel_accuracy,
    sensitivity,
    specificity,
)

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def maps(shape: tuple[int, ...] = (61, 47), classes: int = 6) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, classes, shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, classes, shape)).astype(np.uint8)
    truth[rng.random(shape) < 0.4] = 255
    assert (truth == 255).any()
    assert len(np.unique(prediction)) == classes
    return prediction, truth


def by_hand(prediction: NDArray[Any], truth: NDArray[Any], classes: int) -> NDArray[np.int64]:
    matrix = np.zeros((classes, classes), np.int64)
    for p, t in zip(prediction.reshape(-1).tolist(), truth.reshape(-1).tolist(), strict=True):
        if t != 255:
            matrix[t, p] += 1
    return matrix


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_rows_are_truth_and_unlabelled_is_not_counted(dtype: type[np.integer[Any]]) -> None:
    prediction, truth = maps()
    expected = by_hand(prediction, truth, 6)
    assert not np.array_equal(expected, expected.T)
    result = confusion_matrix(prediction.astype(dtype), truth.astype(dtype), 6)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("strip", [1, 50, 1000])
def test_strips_change_nothing(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, truth = maps()
    expected = by_hand(prediction, truth, 6)
    monkeypatch.setattr(confusion, "STRIP_PIXELS", strip)
    np.testing.assert_array_equal(confusion_matrix(prediction, truth, 6), expected)
    metric = ConfusionMatrix(6)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    np.testing.assert_array_equal(metric.compute().numpy(), expected)


def test_a_large_mosaic_needs_little_memory() -> None:
    prediction = np.tile(np.arange(5, dtype=np.uint8), (5000, 1000))
    truth = np.tile(np.arange(5, dtype=np.uint8)[::-1], (5000, 1000))
    tracemalloc.start()
    matrix = confusion_matrix(prediction, truth, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(matrix, np.fliplr(np.eye(5, dtype=np.int64)) * 5_000_000)
    assert peak < 100e6  # 25 MP; whole, the counted copy alone would be 200 MB


def test_metric_sums_batches_of_any_shape_and_can_be_reset() -> None:
    prediction, truth = maps((4, 1, 32, 32))
    metric = ConfusionMatrix(6)
    for p, t in zip(torch.from_numpy(prediction), torch.from_numpy(truth), strict=True):
        metric.update(p, t.long())
    assert metric.compute().dtype == torch.int64
    np.testing.assert_array_equal(metric.compute().numpy(), by_hand(prediction, truth, 6))
    metric.reset()
    assert int(metric.matrix.sum()) == 0
    metric.update(torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8))
    assert int(metric.matrix.sum()) == 0


def test_metric_forward_gives_the_batch_and_keeps_the_sum() -> None:
    prediction, truth = maps((2, 40, 40))
    metric = ConfusionMatrix(6)
    for i in range(2):
        batch = metric(torch.from_numpy(prediction[i]), torch.from_numpy(truth[i]))
        np.testing.assert_array_equal(batch.numpy(), by_hand(prediction[i], truth[i], 6))
    np.testing.assert_array_equal(metric.compute().numpy(), by_hand(prediction, truth, 6))


@pytest.mark.parametrize("device", DEVICES)
def test_metric_runs_in_deterministic_mode(device: str) -> None:
    prediction, truth = maps((120, 200))
    torch.use_deterministic_algorithms(True)
    try:
        metric = ConfusionMatrix(6).to(device)
        metric.update(torch.from_numpy(prediction).to(device), torch.from_numpy(truth).to(device))
    finally:
        torch.use_deterministic_algorithms(False)
    assert metric.matrix.device.type == device
    np.testing.assert_array_equal(metric.compute().cpu().numpy(), by_hand(prediction, truth, 6))


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (
            [0, 1, 6],
            [0, 1, 2],
            "prediction holds 6, which is no class id, among 1 such labelled pixels; expected 0 to 5",
        ),
        ([0, 1, 255], [0, 1, 2], "prediction holds 255"),
        ([0, 1, 2], [0, 9, 9], "truth holds 9, .* among 2 such .* or 255 for unlabelled"),
        ([0, 1, 2], [0, 1], "shape"),
        ([0, -1, 2], [0, 1, 2], "-1"),
    ],
)
def test_an_id_out_of_range_is_a_sentence(prediction: list[int], truth: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(prediction), np.array(truth), 6)
    metric = ConfusionMatrix(6)
    with pytest.raises(ValueError, match=message):
        metric.update(torch.tensor(prediction), torch.tensor(truth))
    assert int(metric.matrix.sum()) == 0


def test_predictions_on_unlabelled_pixels_do_not_matter() -> None:
    prediction, truth = np.array([0, 77, 255], np.uint8), np.array([0, 255, 255], np.uint8)
    np.testing.assert_array_equal(confusion_matrix(prediction, truth, 2), [[1, 0], [0, 0]])
    metric = ConfusionMatrix(2)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    np.testing.assert_array_equal(metric.compute().numpy(), [[1, 0], [0, 0]])


def test_a_floating_map_is_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        confusion_matrix(np.zeros((2, 2)), np.zeros((2, 2), np.uint8), 2)


#           predicted   a  b  c
MATRIX = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])  # c is nowhere


def test_numbers_by_hand() -> None:
    np.testing.assert_allclose(sensitivity(MATRIX), [0.8, 0.9, np.nan])
    np.testing.assert_allclose(specificity(MATRIX), [0.9, 0.8, 1.0])
    np.testing.assert_allclose(dice(MATRIX), [16 / 19, 18 / 21, np.nan])
    assert pixel_accuracy(MATRIX) == 17 / 20
    assert macro_mean(sensitivity(MATRIX), MATRIX) == pytest.approx(0.85)
    assert macro_mean(specificity(MATRIX), MATRIX) == pytest.approx(0.85)  # c's specificity does not count


def test_undefined_is_nan_and_never_zero() -> None:
    nothing = np.zeros((2, 2), np.int64)
    only = np.array([[5, 1], [0, 0]])
    assert np.isnan(sensitivity(nothing)).all()
    assert np.isnan(specificity(nothing)).all()
    assert np.isnan(dice(nothing)).all()
    assert np.isnan(pixel_accuracy(nothing))
    assert np.isnan(macro_mean(sensitivity(nothing), nothing))
    np.testing.assert_allclose(sensitivity(only), [5 / 6, np.nan])
    np.testing.assert_allclose(specificity(only), [np.nan, 5 / 6])
    np.testing.assert_allclose(dice(only), [10 / 11, 0.0])  # predicted but nowhere true: defined, and zero
    assert np.isnan(macro_mean(specificity(only), only))


def test_many_matrices_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 50, (4, 5, 3, 3))
    matrices[0, 0] = 0
    matrices[1, 2, 1] = 0
    for number in (sensitivity, specificity, dice):
        stacked = number(matrices)
        means = macro_mean(stacked, matrices)
        for i in np.ndindex(4, 5):
            np.testing.assert_array_equal(stacked[i], number(matrices[i]))
            np.testing.assert_array_equal(means[i], macro_mean(number(matrices[i]), matrices[i]))


def test_one_class_has_a_matrix_too() -> None:
    metric = ConfusionMatrix(1)
    metric.update(torch.zeros(2, 3, dtype=torch.uint8), torch.tensor([[0, 0, 255], [0, 255, 0]]))
    assert metric.counts().tolist() == [[4]]
