import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.evaluate.bootstrap import (
    Difference,
    count_compared,
    draw_patients,
    paired_differences,
    shared_seeds,
    tail,
)
from rcm_cascade.evaluate.confusion import macro_mean, sensitivity
from rcm_cascade.evaluate.metrics import METRICS

MEAN = METRICS["sensitivity"].with_mean

Runs = dict[int, NDArray[np.int64]]


def runs(right: float, *, seeds: tuple[int, ...] = (0, 1, 2), patients: int = 12, spread: float = 0.15) -> Runs:
    """Confusion matrices by seed and patient; some patients are far harder than others, for every run alike."""
    of_patient = np.random.default_rng(99).normal(0, spread, patients)
    made = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, round(1000 * right)])
        shares = np.clip(right + of_patient + rng.normal(0, 0.01, patients), 0.05, 0.95)
        counts = np.stack([rng.binomial(2000, np.full(3, share)) for share in shares])
        matrices = np.zeros((patients, 3, 3), np.int64)
        for i in range(3):
            matrices[:, i, i] = counts[:, i]
            matrices[:, i, (i + 1) % 3] = 2000 - counts[:, i]
        made[seed] = matrices
    return made


def width(difference: Difference) -> float:
    assert difference.interval is not None
    return difference.interval[1] - difference.interval[0]


def test_identical_configurations_do_not_differ() -> None:
    same = runs(0.6)
    for difference in paired_differences(same, {s: m.copy() for s, m in same.items()}, MEAN):
        assert difference == Difference(0.0, (0.0, 0.0), 12)
        assert difference.differs is False


def test_configurations_of_one_quality_do_not_differ() -> None:
    a = runs(0.6)
    b = {seed: runs(0.6, seeds=(seed + 50,))[seed + 50] for seed in a}
    mean = paired_differences(a, b, MEAN)[-1]
    assert mean.value != 0
    assert mean.interval is not None
    assert mean.interval[0] < 0 < mean.interval[1]
    assert mean.differs is False


def test_a_configuration_better_on_every_patient_differs_by_as_much() -> None:
    for difference in paired_differences(runs(0.7), runs(0.5), MEAN):
        assert difference.value == pytest.approx(0.2, abs=0.03)
        assert difference.interval is not None
        assert difference.interval[0] > 0.12
        assert difference.differs is True
    assert paired_differences(runs(0.5), runs(0.7), MEAN)[-1].differs is True


def test_pairing_narrows_the_interval() -> None:
    a, b = runs(0.62, spread=0.2), runs(0.6, spread=0.2)
    paired = paired_differences(a, b, MEAN)[-1]
    alone = [_unpaired(side, seed) for seed, side in enumerate((a, b))]
    low, high = np.quantile(alone[0] - alone[1], [0.025, 0.975])
    assert paired.interval is not None
    assert low < paired.interval[0] < paired.interval[1] < high
    assert width(paired) < 0.3 * (high - low)


def _unpaired(side: Runs, seed: int) -> NDArray[np.float64]:
    """Means over seeds of one configuration's resamples, patients drawn for it alone."""
    weights = draw_patients(12, 2000, seed)
    resampled = np.stack([np.tensordot(weights, matrices, axes=1) for matrices in side.values()])
    values: NDArray[np.float64] = MEAN(resampled)[..., -1].mean(axis=0)
    return values


def test_the_order_of_seeds_does_not_matter() -> None:
    a, b = runs(0.62), runs(0.6)
    turned = dict(reversed(list(a.items())))
    assert list(turned) != list(a)
    assert paired_differences(turned, b, MEAN) == paired_differences(a, b, MEAN)
    assert paired_differences(a, dict(reversed(list(b.items()))), MEAN) == paired_differences(a, b, MEAN)


def test_swapping_the_sides_turns_the_sign() -> None:
    a, b = runs(0.62), runs(0.6)
    for there, back in zip(paired_differences(a, b, MEAN), paired_differences(b, a, MEAN), strict=True):
        assert there.value == pytest.approx(-(back.value or 0))
        assert there.interval is not None
        assert back.interval is not None
        assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))


def test_interval_equals_the_one_by_hand() -> None:
    a, b = runs(0.62, seeds=(3, 5)), runs(0.6, seeds=(3, 5))
    (mean,) = paired_differences(a, b, lambda m: MEAN(m)[..., -1:], draws=300, seed=7)
    values = []
    for patients, seeds in zip(draw_patients(12, 300, 7), draw_patients(2, 300, 8), strict=True):
        chosen = np.repeat([3, 5], seeds)
        both = []
        for side in (a, b):
            totals = [sum(w * m for w, m in zip(patients, side[s], strict=True)) for s in chosen]
            both.append(np.mean([macro_mean(sensitivity(t), t) for t in np.stack(totals)]))
        values.append(both[0] - both[1])
    assert mean.interval == pytest.approx(tuple(np.quantile(values, [tail(12), 1 - tail(12)])))


def test_only_seeds_of_both_are_compared_else_all() -> None:
    a, b = runs(0.62, seeds=(0, 1, 2)), runs(0.6, seeds=(1, 2, 3))
    assert shared_seeds(a, b) == [1, 2]
    both = paired_differences(a, b, MEAN)
    assert both == paired_differences({s: a[s] for s in (1, 2)}, {s: b[s] for s in (1, 2)}, MEAN)
    others = {seed + 10: matrices for seed, matrices in b.items()}
    assert shared_seeds(a, others) == []
    apart = paired_differences(a, others, MEAN)[-1]
    expected = np.mean([MEAN(m.sum(axis=0))[-1] for m in a.values()]) - np.mean(
        [MEAN(m.sum(axis=0))[-1] for m in b.values()]
    )
    assert apart.value == pytest.approx(expected)
    assert apart.interval is not None


def test_seeds_that_differ_widen_the_interval() -> None:
    steady, unsteady = runs(0.6), {s: runs(0.6 + 0.1 * s, seeds=(s,))[s] for s in (0, 1, 2)}
    reference = runs(0.5)
    assert width(paired_differences(unsteady, reference, MEAN)[-1]) > 1.5 * width(
        paired_differences(steady, reference, MEAN)[-1]
    )


def test_below_five_patients_there_is_no_interval() -> None:
    a, b = runs(0.7), runs(0.5)
    four = [{s: m[:4] for s, m in side.items()} for side in (a, b)]
    for difference in paired_differences(four[0], four[1], MEAN):
        assert difference.value is not None
        assert difference.value > 0.1
        assert difference.interval is None
        assert difference.differs is None
    five = [{s: m[:5] for s, m in side.items()} for side in (a, b)]
    assert paired_differences(five[0], five[1], MEAN)[0].interval is not None


def test_a_class_needs_five_patients_who_hold_it() -> None:
    a, b = runs(0.7), runs(0.5)
    for side in (a, b):
        for matrices in side.values():
            matrices[:, 2] = 0
            matrices[4:, 1] = 0
    first, second, third, mean = paired_differences(a, b, MEAN)
    assert third == Difference(None, None, 0)
    assert third.differs is None
    assert first.differs is True
    assert second.value == pytest.approx(0.2, abs=0.05)
    assert (second.interval, second.differs, second.patients) == (None, None, 4)
    assert (mean.differs, mean.patients) == (True, 12)
    for side, whole in ((a, runs(0.7)), (b, runs(0.5))):
        for seed, matrices in side.items():
            matrices[4, 1] = whole[seed][4, 1]
    held = paired_differences(a, b, MEAN)[1]
    assert (held.patients, held.differs) == (5, True)


def test_the_run_in_which_fewest_patients_have_a_number_counts() -> None:
    dice = METRICS["dice"].with_mean
    a, b = runs(0.7), runs(0.5)
    for side in (a, b):
        for matrices in side.values():
            matrices[4:, 2] = 0  # four hold class 2; to the others it was given
    assert paired_differences(a, b, dice)[2].interval is not None
    b[1][4:, :, 2] = 0
    found = paired_differences(a, b, dice)[2]
    assert found.value is not None
    assert (found.interval, found.patients) == (None, 4)


def test_seeds_compared_are_the_shared_ones_else_those_of_the_smaller_side() -> None:
    assert count_compared({0: 0, 1: 0, 2: 0}, {2: 0, 3: 0, 4: 0}) == 1
    assert count_compared({0: 0, 1: 0}, {1: 0, 0: 0, 4: 0}) == 2
    assert count_compared({0: 0, 1: 0}, {5: 0, 6: 0, 7: 0}) == 2


def test_sides_must_have_runs_of_the_same_patients() -> None:
    with pytest.raises(ValueError, match="at least one"):
        paired_differences({}, runs(0.5), MEAN)
    with pytest.raises(ValueError, match="shape-mismatch"):
        paired_differences(runs(0.5, patients=6), runs(0.5, patients=7), MEAN)
