"""Whether a probability means what it says: calibration error, reliability, and the temperature that mends them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from rcm_cascade.classes import UNLABELLED

BINS: Final = 15
"""Of equal width over confidences from 0 to 1, as in Guo et al. 2017."""

MOSAIC_PIXELS: Final = 250_000
"""Labelled px that are looked at in one mosaic, at most."""

TOTAL_PIXELS: Final = 2_000_000
"""The same in all mosaics together: 48 MB of logits of six classes."""

TEMPERATURES: Final = (0.05, 20.0)
"""Between which the temperature is sought. The optimum of a network that errs nowhere is 0, that of one whose logits
say nothing infinite."""


@dataclass(frozen=True, eq=False)
class LogitSample:
    """Logits of labelled pixels.

    Args:
        logits: ``(n, C)`` float32.
        truth: class ids ``(n,)`` uint8, each below C.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.uint8]

    @classmethod
    def join(cls, parts: Sequence["LogitSample"]) -> "LogitSample":
        """The pixels of several samples, at least one."""
        return cls(np.concatenate([p.logits for p in parts]), np.concatenate([p.truth for p in parts]))


class Piece(Protocol):
    """A part of a mosaic as it leaves the network; `rcm_cascade.annotate.engine.LevelPiece` is one."""

    @property
    def rows(self) -> slice:
        """Of the working grid."""

    @property
    def cols(self) -> slice:
        """The same."""

    @property
    def merged(self) -> Tensor | None:
        """Logits of the final map, ``(C, rows, cols)``; None at a coarser level."""


class LogitSampler:
    """Keeps the logits of a mosaic's labelled pixels on a regular grid, out of pieces that come and go.

    The grid takes every ``step``-th row and column, from the first on, as many as the limit allows. A pixel that comes
    again replaces what it was.

    Args:
        labels: ``(H, W)`` uint8 on the working grid, 255 = unlabelled; may be memory-mapped.
        num_classes: ``C``.
        limit: labelled px on the grid at most, 1 or more.
    """

    def __init__(self, labels: NDArray[np.uint8], num_classes: int, limit: int = MOSAIC_PIXELS) -> None:
        labelled = int(np.count_nonzero(labels != UNLABELLED))
        self.step = max(1, math.isqrt(labelled // limit))  # smaller ones have too many on average
        while np.count_nonzero(labels[:: self.step, :: self.step] != UNLABELLED) > limit:
            self.step += 1
        grid = np.asarray(labels[:: self.step, :: self.step])
        rows, cols = np.nonzero(grid != UNLABELLED)  # in scan order, so a strip's pixels are neighbours
        self._truth: NDArray[np.uint8] = grid[rows, cols]
        self._rows, self._cols = rows * self.step, cols * self.step
        self._logits = np.zeros((len(rows), num_classes), np.float32)
        self._seen = np.zeros(len(rows), np.bool_)

    def observe(self, piece: Piece) -> None:
        """Takes what of a piece lies on the grid; pieces of coarser levels are left alone. For `annotate_image`."""
        if piece.merged is None:
            return
        top, left = piece.rows.start, piece.cols.start
        first, last = np.searchsorted(self._rows, (top, piece.rows.stop))
        here = first + np.flatnonzero((self._cols[first:last] >= left) & (self._cols[first:last] < piece.cols.stop))
        if len(here):
            picked = piece.merged[:, self._rows[here] - top, self._cols[here] - left]
            self._logits[here] = picked.float().cpu().numpy().T
            self._seen[here] = True

    def sample(self) -> LogitSample:
        """What was kept; pixels whose logits are not finite, as a network that diverged gives, are left out.

        Raises:
            ValueError: if a pixel of the grid was not given.
        """
        if not self._seen.all():
            missing = len(self._seen) - int(self._seen.sum())
            raise ValueError(f"{missing} of {len(self._seen)} labelled pixels on the grid were in no piece")
        finite = np.isfinite(self._logits).all(axis=1)
        return LogitSample(self._logits[finite], self._truth[finite])


def pixels_per_mosaic(mosaics: int) -> int:
    """Labelled px to look at in each of so many mosaics: `MOSAIC_PIXELS`, or fewer so that `TOTAL_PIXELS` hold."""
    return max(1, min(MOSAIC_PIXELS, TOTAL_PIXELS // mosaics))


def negative_log_likelihood(sample: LogitSample, temperature: float = 1.0) -> float:
    """Mean of ``-log softmax(z / T)[truth]`` over pixels, in nats (Guo et al. 2017, section 2).

    Args:
        sample: of one mosaic or many, with a pixel at least.
        temperature: T, above 0.
    """
    scaled = sample.logits.astype(np.float64) / temperature
    losses = _log_sum_exp(scaled) - scaled[np.arange(len(scaled)), sample.truth]
    return float(losses.sum()) / len(losses)


def fit_temperature(sample: LogitSample) -> float:
    """The one number by which logits are divided so that the negative log-likelihood is least.

    Temperature scaling of Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. The labels stay as
    they are. Sought by Brent's bounded method over ``log T`` within `TEMPERATURES`, where there is one minimum: the
    likelihood is concave in ``1 / T``.

    Args:
        sample: of validation mosaics.

    Returns:
        T; 1.0 without a labelled pixel.
    """
    if not len(sample.truth):
        return 1.0
    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(sample, math.exp(log_t)),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(math.exp(found.x))


def reliability(sample: LogitSample, temperature: float = 1.0, bins: int = BINS) -> list[dict[str, Any]]:
    """Confidence and accuracy by bins of confidence, the reliability diagram of Guo et al. 2017, section 2.

    Confidence is the largest of a pixel's probabilities. Bin ``m`` of ``M`` is ``((m - 1) / M, m / M]``.

    Args:
        sample: of one mosaic or many.
        temperature: by which the logits are divided, above 0.
        bins: M.

    Returns:
        ``low``, ``high``, ``pixels``, ``confidence`` and ``accuracy`` (means over the bin's pixels, ``None`` without
        one) of each bin.
    """
    scaled = sample.logits.astype(np.float64) / temperature
    confidence = np.exp(scaled.max(axis=1) - _log_sum_exp(scaled))
    right = scaled.argmax(axis=1) == sample.truth
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts, confidences, rights = (np.bincount(index, weights, bins) for weights in (None, confidence, right))
    return [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "pixels": int(count),
            "confidence": float(confidences[i] / count) if count else None,
            "accuracy": float(rights[i] / count) if count else None,
        }
        for i, count in enumerate(counts)
    ]


def expected_calibration_error(rows: Sequence[dict[str, Any]]) -> float | None:
    """The gap between accuracy and confidence of a bin, averaged over pixels (Guo et al. 2017, section 2).

    Args:
        rows: of `reliability`.

    Returns:
        In ``[0, 1]``; ``None`` without a pixel.
    """
    pixels = sum(row["pixels"] for row in rows)
    gaps = (row["pixels"] * abs(row["accuracy"] - row["confidence"]) for row in rows if row["pixels"])
    return math.fsum(gaps) / pixels if pixels else None


def measure_calibration(sample: LogitSample, temperature: float) -> dict[str, Any]:
    """All numbers of a sample, in the form of `metrics.json`; ``None`` where there is no pixel.

    Args:
        sample: of all mosaics.
        temperature: that the checkpoint holds.
    """
    pixels = len(sample.truth)
    measured: dict[str, Any] = {"pixels": pixels, "bins": BINS, "temperature": temperature}
    for suffix, divisor in (("", 1.0), ("_at_temperature", temperature)):
        rows = reliability(sample, divisor)
        measured[f"ece{suffix}"] = expected_calibration_error(rows)
        measured[f"nll{suffix}"] = negative_log_likelihood(sample, divisor) if pixels else None
        measured[f"reliability{suffix}"] = rows
    return measured


def _log_sum_exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = values.max(axis=1)
    total: NDArray[np.float64] = largest + np.log(np.exp(values - largest[:, None]).sum(axis=1))
    return total
