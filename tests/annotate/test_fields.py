"""Fields of 0.5 mm: every pixel is in one, and what is worth labelling is what the network doubts."""

import numpy as np
import pytest

from rcm_cascade.annotate.fields import FIELD_PX, count_fields, pattern_ids
from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass


@pytest.mark.parametrize("shape", [(1, 1), (499, 501), (500, 1000), (1234, 777)])
@pytest.mark.parametrize("pixel_size_um", [None, 0.7, 1.0, 3.3, 900.0])
def test_sums_over_fields_are_sums_over_pixels(shape: tuple[int, int], pixel_size_um: float | None) -> None:
    rng = np.random.default_rng(0)
    labels, entropy = (rng.integers(0, top, shape).astype(np.uint8) for top in (6, 256))
    fields = count_fields(labels, pixel_size_um, entropy)
    assert np.array_equal(fields.pixels.sum(axis=(0, 1)), np.bincount(labels.ravel(), minlength=256))
    assert fields.areas.sum() == labels.size
    assert (fields.areas > 0).all()
    assert fields.entropy is not None
    assert (fields.entropy * fields.areas).sum() * 255 == pytest.approx(entropy.sum(dtype=np.int64))


def test_a_field_is_half_a_millimetre_and_counts_what_lies_in_it() -> None:
    labels = np.zeros((700, 1100), np.uint8)
    labels[400:, 800:1050] = 4
    fields = count_fields(labels, 1.25)
    assert fields.tops.tolist() == [0, 400, 700]
    assert fields.lefts.tolist() == [0, 400, 800, 1100]
    assert fields.pixels[1, 2, 4] == 300 * 250
    assert fields.pixels[..., 4].sum() == 300 * 250
    assert fields.dominant.tolist() == [[0, 0, 0], [0, 0, 4]]
    assert fields.entropy is None
    assert count_fields(labels, None).lefts.tolist() == [0, FIELD_PX, 2 * FIELD_PX, 1100]


def test_patterns_around_are_those_of_the_neighbours() -> None:
    labels = np.zeros((5, 5), np.uint8)
    labels[1, 1], labels[1, 2], labels[3, 3], labels[2, 2] = 2, 3, 5, 1
    around = count_fields(labels, 500.0).patterns_around(pattern_ids(RCM_CLASSES))
    assert around.tolist() == [
        [1, 2, 2, 1, 0], [1, 2, 2, 1, 0], [1, 2, 3, 2, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1],
    ]  # fmt: skip
    table = ClassTable((LabelClass(0, "a", "#000000"), LabelClass(1, "b", "#ffffff")))
    assert pattern_ids(table) == [0, 1]
    assert count_fields(labels, 500.0).patterns_around([]).tolist() == [[0] * 5] * 5


def test_worth_labelling_is_what_is_doubted_each_class_in_turn() -> None:
    labels = np.zeros((4, 4), np.uint8)
    labels[0] = 4
    labels[1, 0] = 2
    entropy = np.arange(16, dtype=np.uint8).reshape(4, 4)
    fields = count_fields(labels, 500.0, entropy)
    assert fields.worth_labelling(5, 6) == [(3, 3), (1, 0), (0, 3), (3, 2), (0, 2)]
    assert len(fields.worth_labelling(99, 6)) == 16
    assert fields.worth_labelling(3, 6, fields.dominant == 2) == [(3, 3), (0, 3), (3, 2)]
    assert fields.worth_labelling(0, 6) == []
    assert count_fields(labels, 500.0).worth_labelling(3, 6) == []


def test_fields_that_the_border_cuts_off_are_not_worth_labelling() -> None:
    labels = np.zeros((1200, 1000), np.uint8)
    entropy = np.zeros_like(labels)
    entropy[1000:] = 255
    assert count_fields(labels, 1.0, entropy).worth_labelling(9, 6) == [(0, 0), (0, 1), (1, 0), (1, 1)]
