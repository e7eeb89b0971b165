from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rcm_cascade.report.learning import (
    MONITORED,
    WHOLE_LEVEL,
    best_score,
    curve,
    gradient_norms,
    mean_gradients,
    reached,
    stage_order,
    training_seconds,
)
from rcm_cascade.training.history import Row, read_history
from tests.report.factories import STAGES, write_metrics


@pytest.fixture
def history(tmp_path: Path) -> list[Row]:
    """Six epochs of 30 s, 5 s of them validation."""
    write_metrics(tmp_path / "metrics.csv", best=0.8, gradients=0.4)
    return read_history(tmp_path / "metrics.csv")


def test_time_is_counted_without_validation(history: list[Row]) -> None:
    assert training_seconds(history) == pytest.approx(150)
    points = curve(history, MONITORED)
    np.testing.assert_allclose(points[:, 0], [25, 50, 75, 100, 125, 150])
    np.testing.assert_array_equal(points[:, 1], [1, 2, 3, 4, 5, 6])
    np.testing.assert_allclose(points[:, 2], 0.8 * np.sqrt(np.arange(1, 7) / 6), rtol=1e-5)
    assert training_seconds([{"step": 1.0, "train/loss": 2.0}]) is None


def test_epochs_that_are_not_validated_take_time_all_the_same(history: list[Row]) -> None:
    for row in history[::2]:
        del row[MONITORED]
    points = curve(history, MONITORED)
    np.testing.assert_allclose(points[:, 0], [50, 100, 150])
    np.testing.assert_array_equal(points[:, 1], [2, 4, 6])


def test_the_order_of_rows_does_not_matter_and_nan_is_no_value(history: list[Row]) -> None:
    expected = curve(history, MONITORED)
    np.testing.assert_array_equal(curve(history[::-1], MONITORED), expected)
    history[0][MONITORED] = float("nan")
    np.testing.assert_array_equal(curve(history, MONITORED), expected[1:])


def test_a_score_is_reached_at_the_first_validation_at_or_above_it(history: list[Row]) -> None:
    third = history[2][MONITORED]
    assert reached(history, third) == pytest.approx((75, 3))
    assert reached(history, third + 1e-6) == pytest.approx((100, 4))
    assert reached(history, 0.81) is None
    assert best_score(history) == pytest.approx(0.8)
    assert best_score([]) is None
    history[4][MONITORED] = 0.1  # a later fall does not matter
    assert reached(history, third) == pytest.approx((75, 3))


def test_gradient_norms_are_geometric_means_over_the_first_third_and_all(history: list[Row]) -> None:
    norms: Any = gradient_norms(history)
    assert set(norms.index) == {(level, stage) for level in (1, 2) for stage in (WHOLE_LEVEL, *STAGES)}
    values = [0.4 * 2 * (i + 1) / 6 for i in range(6)]
    early, whole = norms.loc[(2, WHOLE_LEVEL)]
    assert early == pytest.approx((values[0] * values[1]) ** 0.5, rel=1e-4)
    assert whole == pytest.approx(np.prod(values) ** (1 / 6), rel=1e-4)
    assert tuple(norms.loc[(1, "bottom")]) == pytest.approx((0.4 / 16, 0.4 / 16), rel=1e-4)
    assert gradient_norms([{"step": 1.0, "train/loss": 2.0}]).empty


def test_stages_come_as_they_are_executed() -> None:
    stages = {"head", "decoder2", "decoder10", "bottom", WHOLE_LEVEL, "encoder2", "encoder1", "other", "decoder1"}
    assert sorted(stages, key=stage_order) == [
        WHOLE_LEVEL, "encoder1", "encoder2", "bottom", "decoder1", "decoder2", "decoder10", "head", "other",
    ]  # fmt: skip


def test_a_geometric_mean_with_a_zero_is_zero() -> None:
    rows: list[Row] = [{"step": float(i), "train/grad_norm_level1": norm} for i, norm in enumerate([10.0, 0.1, 0.0])]
    assert gradient_norms(rows).to_numpy()[0].tolist() == pytest.approx([10, 0])
    assert mean_gradients([rows, rows[:1]]).to_numpy()[0].tolist() == pytest.approx([10, 0])
