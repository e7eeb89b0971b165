"""The confusion matrix of labelled pixels, exact, and every number that derives from it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.intensity import STRIP_PIXELS


def confusion_matrix(prediction: NDArray[Any], truth: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """Counts labelled pixels by true and predicted class.

    Args:
        prediction: class ids, ``(H, W)`` or any shape, an integer dtype (uint8 is counted without a copy).
        truth: class ids of the same shape; 255 = unlabelled, not counted whatever the prediction there.
        num_classes: ``C``, at most 255.

    Returns:
        ``(C, C)`` int64, rows = truth, columns = prediction.

    Raises:
        ValueError: if the shapes differ, or a labelled pixel's truth or prediction is no class id.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape} and truth {truth.shape}; expected the same grid")
    counts = np.zeros(65536, np.int64)
    predictions, truths = prediction.reshape(-1), truth.reshape(-1)
    for start in range(0, truth.size, STRIP_PIXELS):
        part = slice(start, start + STRIP_PIXELS)
        strip = _to_bytes(truths[part], "truth").astype(np.uint16)
        strip <<= 8
        strip |= _to_bytes(predictions[part], "prediction")
        counts += np.bincount(strip, minlength=65536)
    table = counts.reshape(256, 256)[:UNLABELLED]
    _check_ids("truth", table.sum(axis=1), num_classes)
    _check_ids("prediction", table.sum(axis=0), num_classes)
    return table[:num_classes, :num_classes].copy()


def sensitivity(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TP / (TP + FN) per class: ``(…, C, C)`` to ``(…, C)``; NaN where the class has no labelled pixel."""
    return _ratio(_diagonal(matrix), matrix.sum(axis=-1))


def specificity(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """TN / (TN + FP) per class: ``(…, C, C)`` to ``(…, C)``; NaN where no other class has a labelled pixel."""
    negatives = matrix.sum(axis=(-2, -1))[..., np.newaxis] - matrix.sum(axis=-1)
    false_positives = matrix.sum(axis=-2) - _diagonal(matrix)
    return _ratio(negatives - false_positives, negatives)


def dice(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) per class: ``(…, C, C)`` to ``(…, C)``; NaN where the class is nowhere."""
    return _ratio(2 * _diagonal(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2))


def row_shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each true class is taken for: ``(…, C, C)``, rows sum to 1; NaN where the class has no labelled pixel."""
    return _ratio(matrix, np.broadcast_to(matrix.sum(axis=-1, keepdims=True), matrix.shape))


def pixel_accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of labelled pixels predicted right, from ``(C, C)``; NaN without a labelled pixel."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else float("nan")


def macro_mean(values: NDArray[np.float64], matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the classes present in the truth, each counting the same: ``(…, C)`` and ``(…, C, C)`` to ``(…)``.

    A class that is present but whose value is undefined (the specificity of the only class) is left out; NaN where
    none is left.
    """
    counted = (matrices.sum(axis=-1) > 0) & ~np.isnan(values)
    return _ratio(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1))


class ConfusionMatrix(Metric):
    """`confusion_matrix` as a metric: batches and processes are summed, exactly.

    Class ids are counted on the CPU, wherever the network runs: they are bytes, and torchmetrics' own count needs
    gigabytes for a mosaic in deterministic mode.

    Args:
        num_classes: ``C``, at most 255.

    Raises:
        ValueError: by `update`, as `confusion_matrix` does.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    matrix: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:  # noqa: ANN401 (torchmetrics' own options)
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Adds class ids of one shape and any integer dtype; 255 in ``truth`` is not counted."""
        counts = confusion_matrix(prediction.cpu().numpy(), truth.cpu().numpy(), self.num_classes)
        self.matrix += torch.from_numpy(counts).to(self.matrix.device)

    def compute(self) -> Tensor:
        """``(C, C)`` int64, rows = truth; of one class torchmetrics makes a scalar of it."""
        return self.matrix

    def counts(self) -> NDArray[np.int64]:
        """What `compute` gives, as an array, ``(C, C)`` for one class too."""
        counts: NDArray[np.int64] = self.compute().cpu().numpy()
        return counts.reshape(self.num_classes, self.num_classes)


def _diagonal(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(numerator: NDArray[Any], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _to_bytes(ids: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} has dtype {ids.dtype}; expected an integer dtype")
    if ids.size and (ids.min() < 0 or ids.max() > UNLABELLED):
        raise ValueError(f"{name} holds values from {ids.min()} to {ids.max()}; expected class ids or {UNLABELLED}")
    return ids.astype(np.uint8, copy=False)


def _check_ids(name: str, counts: NDArray[np.int64], num_classes: int) -> None:
    outside = np.flatnonzero(counts[num_classes:])
    if len(outside):
        raise ValueError(
            f"{name} holds {num_classes + outside[0]}, which is no class id, among {counts[num_classes:].sum()} such "
            f"labelled pixels; expected 0 to {num_classes - 1}"
            + (f", or {UNLABELLED} for unlabelled" if name == "truth" else "")
        )
