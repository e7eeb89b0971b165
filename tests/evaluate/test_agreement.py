"""Kappas against their definitions, and what mistakes cost."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.agreement import agreement, cohen_kappa, fleiss_kappa, mean_costs, read_costs, votes


def maps(readers: int, seed: int = 0, shape: tuple[int, int] = (40, 50)) -> list[NDArray[np.uint8]]:
    """Readers who mostly agree, and left something unlabelled."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, shape)
    drawn = []
    for _ in range(readers):
        labels = np.where(rng.random(shape) < 0.7, truth, rng.integers(0, 3, shape)).astype(np.uint8)
        labels[rng.random(shape) < 0.1] = UNLABELLED
        drawn.append(labels)
    return drawn


def test_fleiss_of_the_published_example() -> None:
    """Fleiss 1971: ten subjects, fourteen raters, five categories: kappa .210."""
    given = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    raters = np.array([np.repeat(np.arange(5), row) for row in given], np.uint8).T
    counts = votes([rater[np.newaxis] for rater in raters], 5)
    assert fleiss_kappa(counts)[-1] == pytest.approx(0.210, abs=0.0005)
    # of one class: by its own definition, P and P_e of two categories
    for label in range(5):
        n = given[:, label]
        observed = ((n**2 + (14 - n) ** 2).sum() - 10 * 14) / (10 * 14 * 13)
        share = n.sum() / 140
        chance = share**2 + (1 - share) ** 2
        assert fleiss_kappa(counts)[label] == pytest.approx((observed - chance) / (1 - chance))


def test_cohen_is_scikit_learn_s() -> None:
    one, other = maps(2)
    both = (one != UNLABELLED) & (other != UNLABELLED)
    matrix = np.zeros((3, 3), np.int64)
    np.add.at(matrix, (one[both], other[both]), 1)
    found = cohen_kappa(matrix)
    assert found[-1] == pytest.approx(cohen_kappa_score(one[both], other[both]))
    for label in range(3):
        assert found[label] == pytest.approx(cohen_kappa_score(one[both] == label, other[both] == label))


def test_of_two_who_are_one_kappa_is_one_and_of_chance_nothing() -> None:
    one = maps(1)[0]
    assert fleiss_kappa(votes([one] * 3, 3)) == pytest.approx(np.ones(4))
    rng = np.random.default_rng(0)
    blind = [rng.integers(0, 3, (400, 400)).astype(np.uint8) for _ in range(3)]
    assert fleiss_kappa(votes(blind, 3)) == pytest.approx(np.zeros(4), abs=0.01)
    constant = np.zeros((4, 4), np.uint8)
    assert np.isnan(fleiss_kappa(votes([constant] * 2, 3))).all()
    assert np.isnan(cohen_kappa(np.zeros((3, 3), np.int64))).all()


def test_agreement_has_every_pair_and_intervals_over_patients(classes: ClassTable) -> None:
    drawn = [maps(3, seed) for seed in range(6)]
    by_reader = {name: [mosaic[i] for mosaic in drawn] for i, name in enumerate(("labels", "a", "b"))}
    found = agreement(by_reader, [f"p{i}" for i in range(6)], classes)
    assert [pair["readers"] for pair in found["pairs"]] == [["labels", "a"], ["labels", "b"], ["a", "b"]]
    assert [row["name"] for row in found["fleiss"]] == [*classes.names, "all classes"]
    for row in (*found["fleiss"], *(row for pair in found["pairs"] for row in pair["cohen"])):
        low, high = row["kappa_ci"]
        assert low < row["kappa"] < high
        assert high - low < 0.2
    two = agreement({k: by_reader[k] for k in ("labels", "a")}, [f"p{i}" for i in range(6)], classes)
    assert two["fleiss"] is None
    assert agreement(by_reader, ["p"] * 6, classes)["fleiss"][-1]["kappa_ci"] is None


def test_what_mistakes_cost(tmp_path: Path, classes: ClassTable) -> None:
    path = tmp_path / "costs.yaml"
    path.write_text("a: {b: 5, c: .5}\nc: {a: 0}\n")
    costs = read_costs(path, classes)
    assert costs.tolist() == [[0, 5, 0.5], [1, 0, 1], [0, 1, 0]]
    matrix = np.array([[6, 2, 2], [0, 4, 0], [3, 1, 0]])
    found = mean_costs([matrix] * 5, list("vwxyz"), costs, classes)
    assert [row["cost"] for row in found["classes"]] == [pytest.approx(1.1), 0, pytest.approx(0.25)]
    assert found["mean"]["cost"] == pytest.approx(12 / 18)
    assert found["mean"]["cost_ci"] == [pytest.approx(12 / 18)] * 2
    assert mean_costs([matrix * 0], ["v"], costs, classes)["mean"] == {
        "name": "all classes", "cost": None, "cost_ci": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [("a: {d: 1}", "names 'd'"), ("a: {a: 1}", "where it is right"), ("a: {b: -1}", "no table"), ("a: 3", "no table"),
     ("- a", "no table"), ("a: {b: .inf}", "no table")],
)  # fmt: skip
def test_costs_that_make_no_sense_are_one_sentence(text: str, fault: str, tmp_path: Path, classes: ClassTable) -> None:
    (tmp_path / "costs.yaml").write_text(text)
    with pytest.raises(InputError, match=fault):
        read_costs(tmp_path / "costs.yaml", classes)
    with pytest.raises(InputError, match="cannot be read"):
        read_costs(tmp_path / "none.yaml", classes)
