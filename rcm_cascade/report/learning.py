"""How a run learned: its curves against training time, when it reached a score, how large its gradients were."""

import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import gmean

from rcm_cascade.training.history import Row

MONITORED: Final = "val/mean_sensitivity"
"""The score of the validation regions, by which the best checkpoint is chosen."""

WHOLE_LEVEL: Final = "level"
"""Stands for the stage where a gradient norm is that of a level's weights together."""

_EXECUTED: Final = (WHOLE_LEVEL, "encoder", "bottom", "decoder", "head")

_GRADIENT: Final = re.compile(r"train/grad_norm_level(\d+)(?:_(\w+))?")


def training_seconds(history: Sequence[Row]) -> float | None:
    """Seconds of training, without validation; None where no epoch was timed."""
    times = [_epoch_seconds(row) for row in history if "time/epoch_s" in row]
    return math.fsum(times) if times else None


def curve(history: Sequence[Row], key: str) -> NDArray[np.float64]:
    """A metric by training time.

    Args:
        history: rows of `metrics.csv`.
        key: the metric's column.

    Returns:
        ``(N, 3)``: seconds of training (without validation) until then, epochs done until then, and the value; one row
        for each finite value, in the order of the steps.
    """
    points: list[tuple[float, float, float]] = []
    seconds = 0.0
    for row in sorted(history, key=lambda row: row.get("step", 0.0)):
        seconds += _epoch_seconds(row)
        if math.isfinite(row.get(key, math.nan)):
            points.append((seconds, row.get("epoch", float(len(points))) + 1, row[key]))
    return np.array(points, np.float64).reshape(-1, 3)


def reached(history: Sequence[Row], score: float) -> tuple[float, int] | None:
    """Seconds of training and epochs until `MONITORED` was first ``score`` or more; None where it never was."""
    points = curve(history, MONITORED)
    above = points[points[:, 2] >= score]
    return (float(above[0, 0]), int(above[0, 1])) if len(above) else None


def best_score(history: Sequence[Row]) -> float | None:
    """The highest `MONITORED`; None where nothing was validated."""
    points = curve(history, MONITORED)
    return float(points[:, 2].max()) if len(points) else None


def gradient_norms(history: Sequence[Row]) -> pd.DataFrame:
    """Geometric means of each gradient norm over the ``first_third`` of the epochs and over ``all_epochs``.

    Returns:
        By ``level`` and ``stage``, as they are executed; empty where none was recorded.
    """
    columns = {key: match for row in history for key in row if (match := _GRADIENT.fullmatch(key))}
    rows = []
    order = sorted(columns.items(), key=lambda column: (int(column[1][1]), stage_order(column[1][2] or WHOLE_LEVEL)))
    for key, match in order:
        values = curve(history, key)[:, 2]
        if len(values):
            early = values[: math.ceil(len(values) / 3)]
            rows.append((int(match[1]), match[2] or WHOLE_LEVEL, gmean(early), gmean(values)))
    table = pd.DataFrame(rows, columns=["level", "stage", "first_third", "all_epochs"])
    return table.set_index(["level", "stage"]).astype(float)


def mean_gradients(histories: Sequence[Sequence[Row]]) -> pd.DataFrame:
    """Geometric means over runs of the norms that all of them recorded, as `gradient_norms` gives them."""
    runs = pd.concat([gradient_norms(history) for history in histories]).groupby(["level", "stage"], sort=False)
    return runs.agg(gmean)[runs.size() == len(histories)]


def stage_order(stage: str) -> tuple[int, int, str]:
    """A key that sorts a level's stages as it executes them, its whole first; last what else there is."""
    stem = stage.rstrip("0123456789")
    place = _EXECUTED.index(stem) if stem in _EXECUTED else len(_EXECUTED)
    return place, int(stage[len(stem) :] or 0), stage


def _epoch_seconds(row: Row) -> float:
    return max(0.0, row.get("time/epoch_s", 0.0) - row.get("time/validation_s", 0.0))
