import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.evaluate.bootstrap import bootstrap, draw_patients, percentile_interval, pool_by_patient
from rcm_cascade.evaluate.confusion import macro_mean, sensitivity


def matrices(count: int, seed: int = 0, classes: int = 3) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 200, (classes, classes)) + np.diag(rng.integers(100, 900, classes)) for _ in range(count)]


def test_interval_equals_the_one_by_hand() -> None:
    mosaics, patients = matrices(9), ["b", "a", "c", "a", "d", "e", "b", "f", "g"]
    result = bootstrap(mosaics, patients, draws=400, seed=5)
    assert result.patients == 7
    pooled = {p: sum(m for m, q in zip(mosaics, patients, strict=True) if q == p) for p in sorted(set(patients))}
    values, means = [], []
    for weights in draw_patients(7, 400, 5):
        total = np.zeros((3, 3), np.int64)
        for weight, matrix in zip(weights, pooled.values(), strict=True):
            total += weight * matrix
        values.append(sensitivity(total))
        means.append(macro_mean(sensitivity(total), total))
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(np.array(result.sensitivity), np.stack([low, high], axis=1))
    np.testing.assert_allclose(result.mean_sensitivity or (), np.quantile(means, [0.025, 0.975]))


def test_intervals_hold_the_pooled_value_and_are_wider_for_fewer_and_more_different_patients() -> None:
    mosaics = matrices(40)
    pooled = sensitivity(np.sum(mosaics, axis=0))
    many, few = (bootstrap(mosaics[:n], [str(i) for i in range(n)]) for n in (40, 6))
    for i in range(3):
        interval, wide = many.sensitivity[i], few.sensitivity[i]
        assert interval is not None
        assert wide is not None
        assert interval[0] < pooled[i] < interval[1]
        assert wide[1] - wide[0] > interval[1] - interval[0]
    same = bootstrap([mosaics[0]] * 8, [str(i) for i in range(8)])
    assert same.dice[0] == pytest.approx((same.dice[0] or (0, 0))[0:1] * 2)  # no spread between equal patients


def test_the_unit_is_the_patient_not_the_mosaic() -> None:
    mosaics = matrices(20)
    assert bootstrap(mosaics, ["one"] * 20).sensitivity == (None, None, None)
    four = bootstrap(mosaics, [str(i % 4) for i in range(20)])
    assert four.patients == 4
    assert {*four.sensitivity, *four.specificity, *four.dice, four.mean_dice, four.mean_specificity} == {None}
    assert four.mean_sensitivity is None
    assert bootstrap(mosaics, [str(i % 5) for i in range(20)]).mean_sensitivity is not None


def test_resamples_without_the_class_are_left_out() -> None:
    mosaics = matrices(6)
    for matrix in mosaics[1:]:
        matrix[2] = 0
    result = bootstrap(mosaics, [str(i) for i in range(6)])
    only = float(sensitivity(mosaics[0])[2])
    assert result.sensitivity[2] == pytest.approx((only, only))  # one patient has it: it is drawn or it is not
    for matrix in mosaics:
        matrix[2] = matrix[:, 2] = 0
    absent = bootstrap(mosaics, [str(i) for i in range(6)])
    assert absent.sensitivity[2] is None
    assert absent.dice[2] is None
    assert absent.specificity[2] == (1.0, 1.0)
    assert absent.mean_sensitivity is not None


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


def test_percentiles_of_nothing_are_no_interval() -> None:
    assert percentile_interval(np.array([np.nan, np.nan])) is None
    assert percentile_interval(np.array([np.nan, 0.5, np.nan])) == (0.5, 0.5)
    assert percentile_interval(np.linspace(0, 1, 101), 0.9) == pytest.approx((0.05, 0.95))


def test_pooling_needs_a_patient_for_each_matrix() -> None:
    with pytest.raises(ValueError, match="one each"):
        pool_by_patient(matrices(2), ["a"])
    with pytest.raises(ValueError, match="one each"):
        pool_by_patient([], [])
    pooled = pool_by_patient(matrices(3), ["b", "a", "b"])
    np.testing.assert_array_equal(pooled, [matrices(3)[1], matrices(3)[0] + matrices(3)[2]])
