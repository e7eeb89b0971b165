import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rcm_cascade.evaluate.bootstrap import (
    MIN_PATIENTS,
    bootstrap,
    draw_patients,
    percentile_interval,
    pool_by_patient,
    tail,
)
from rcm_cascade.evaluate.confusion import macro_mean, sensitivity


def matrices(count: int, seed: int = 0, classes: int = 3) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 200, (classes, classes)) + np.diag(rng.integers(100, 900, classes)) for _ in range(count)]


def test_interval_equals_the_one_by_hand() -> None:
    mosaics, patients = matrices(9), ["b", "a", "c", "a", "d", "e", "b", "f", "g"]
    result = bootstrap(mosaics, patients, draws=400, seed=5)
    pooled = {p: sum(m for m, q in zip(mosaics, patients, strict=True) if q == p) for p in sorted(set(patients))}
    values, means = [], []
    for weights in draw_patients(7, 400, 5):
        total = np.zeros((3, 3), np.int64)
        for weight, matrix in zip(weights, pooled.values(), strict=True):
            total += weight * matrix
        values.append(sensitivity(total))
        means.append(macro_mean(sensitivity(total), total))
    outside = stats.norm.cdf(-np.sqrt(7 / 6) * stats.t.ppf(0.975, 6))
    low, high = np.quantile(values, [outside, 1 - outside], axis=0)
    np.testing.assert_allclose(np.array(result["sensitivity"][:-1]), np.stack([low, high], axis=1))
    np.testing.assert_allclose(result["sensitivity"][-1] or (), np.quantile(means, [outside, 1 - outside]))


def test_intervals_hold_the_pooled_value_and_are_wider_for_fewer_and_more_different_patients() -> None:
    mosaics = matrices(40)
    pooled = sensitivity(np.sum(mosaics, axis=0))
    many, few = (bootstrap(mosaics[:n], [str(i) for i in range(n)]) for n in (40, 6))
    for i in range(3):
        interval, wide = many["sensitivity"][i], few["sensitivity"][i]
        assert interval is not None
        assert wide is not None
        assert interval[0] < pooled[i] < interval[1]
        assert wide[1] - wide[0] > interval[1] - interval[0]
    same = bootstrap([mosaics[0]] * 8, [str(i) for i in range(8)])
    assert same["dice"][0] == pytest.approx((same["dice"][0] or (0, 0))[0:1] * 2)  # no spread between equal patients


def test_the_unit_is_the_patient_not_the_mosaic() -> None:
    mosaics = matrices(20)
    assert bootstrap(mosaics, ["one"] * 20)["sensitivity"] == (None,) * 4
    four = bootstrap(mosaics, [str(i % 4) for i in range(20)])
    assert {interval for of_metric in four.values() for interval in of_metric} == {None}
    assert bootstrap(mosaics, [str(i % 5) for i in range(20)])["sensitivity"][-1] is not None


def test_a_number_needs_five_patients_in_whom_it_is_defined() -> None:
    mosaics = matrices(9)
    for matrix in mosaics[4:]:
        matrix[2] = 0  # four patients hold class 2, and the others are given it
    result = bootstrap(mosaics, [str(i) for i in range(9)])
    assert result["sensitivity"][2] is None
    assert result["sensitivity"][1] is not None
    assert result["dice"][2] is not None
    assert result["sensitivity"][-1] is not None
    mosaics[4][2] = matrices(9)[4][2]
    assert bootstrap(mosaics, [str(i) for i in range(9)])["sensitivity"][2] is not None

    for matrix in mosaics[2:]:
        matrix[1:] = 0  # two patients hold another class than 0
    result = bootstrap(mosaics, [str(i) for i in range(9)])
    assert result["specificity"][0] is None
    assert result["specificity"][1] is not None
    for matrix in mosaics[2:]:
        matrix[:, 1] = 0
    assert bootstrap(mosaics, [str(i) for i in range(9)])["dice"][1] is None


def test_resamples_without_the_class_are_left_out() -> None:
    mosaics = matrices(12)
    for matrix in mosaics[5:]:
        matrix[2] = 0
    interval = bootstrap(mosaics, [str(i) for i in range(12)], draws=4000)["sensitivity"][2]
    alone = [float(sensitivity(m)[2]) for m in mosaics[:5]]
    assert interval is not None
    assert min(alone) <= interval[0] < interval[1] <= max(alone)
    for matrix in mosaics:
        matrix[2] = matrix[:, 2] = 0
    absent = bootstrap(mosaics, [str(i) for i in range(12)])
    assert absent["sensitivity"][2] is None
    assert absent["dice"][2] is None
    assert absent["specificity"][2] == (1.0, 1.0)
    assert absent["sensitivity"][-1] is not None


def test_seed_decides_and_the_order_of_mosaics_does_not() -> None:
    mosaics, patients = matrices(8), list("abcdefgh")
    first = bootstrap(mosaics, patients, seed=0)
    assert bootstrap(mosaics, patients, seed=0) == first
    assert bootstrap(mosaics[::-1], patients[::-1], seed=0) == first
    assert bootstrap(mosaics, patients, seed=1) != first


def test_draws_are_of_as_many_patients_as_there_are() -> None:
    weights = draw_patients(6, 500, 0)
    assert weights.shape == (500, 6)
    assert (weights.sum(axis=1) == 6).all()
    assert (weights == 0).any()
    assert abs(weights.mean(axis=0) - 1).max() < 0.15


def test_percentiles_of_nothing_and_of_few_patients_are_no_interval() -> None:
    assert percentile_interval(np.array([np.nan, np.nan]), patients=9) is None
    assert percentile_interval(np.array([np.nan, 0.5, np.nan]), patients=9) == (0.5, 0.5)
    assert percentile_interval(np.linspace(0, 1, 101), patients=MIN_PATIENTS - 1) is None
    many = percentile_interval(np.linspace(0, 1, 101), patients=10**6, level=0.9)
    assert many == pytest.approx((0.05, 0.95), abs=1e-4)


def test_percentiles_are_expanded_for_few_patients() -> None:
    assert [round(tail(n), 4) for n in (5, 12, 25, 10**6)] == [0.001, 0.0108, 0.0176, 0.025]


@pytest.mark.parametrize("patients", [5, 12])
def test_an_interval_misses_the_truth_about_one_time_in_twenty(patients: int) -> None:
    rng = np.random.default_rng(0)
    missed = plain = 0
    for trial in range(1000):
        means = draw_patients(patients, 1000, trial) @ rng.normal(0, 1, patients) / patients
        low, high = percentile_interval(means, patients=patients) or (0, 0)
        missed += low > 0 or high < 0
        low, high = np.quantile(means, [0.025, 0.975])
        plain += low > 0 or high < 0
    assert 0.03 < missed / 1000 < 0.09
    assert plain > 1.4 * missed


def test_pooling_needs_a_patient_for_each_matrix() -> None:
    with pytest.raises(ValueError, match="one each"):
        pool_by_patient(matrices(2), ["a"])
    with pytest.raises(ValueError, match="one each"):
        pool_by_patient([], [])
    pooled = pool_by_patient(matrices(3), ["b", "a", "b"])
    np.testing.assert_array_equal(pooled, [matrices(3)[1], matrices(3)[0] + matrices(3)[2]])


def test_anything_counted_by_mosaic_is_pooled() -> None:
    pooled = pool_by_patient(np.array([[1.5, 2.0], [3.0, 4.0], [5.0, 6.0]]), ["b", "a", "b"])
    np.testing.assert_array_equal(pooled, [[3.0, 4.0], [6.5, 8.0]])
