import numpy as np
import pytest

from rcm_cascade.annotate.regions import COUNT, largest_regions


def test_largest_first_over_all_the_classes_asked_for() -> None:
    labels = np.zeros((40, 50), np.uint8)
    labels[2:6, 3:8] = 4
    labels[10:20, 30:44] = 5
    labels[25:35, 0:9] = 4
    labels[36:40, 20:50] = 3

    regions = largest_regions(labels, [4, 5])

    assert [(r.label, r.pixels) for r in regions] == [(5, 140), (4, 90), (4, 20)]
    first = regions[0]
    assert (first.top, first.left, first.mask.shape) == (10, 30, (10, 14))
    assert first.mask.all()
    assert first.centroid == pytest.approx((14.5, 36.5))


def test_the_mask_holds_one_region_though_boxes_overlap() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[0:9, 0] = labels[8, 0:9] = 1
    labels[1:5, 3:9] = 1

    inner, outer = largest_regions(labels, [1])

    assert (inner.pixels, outer.pixels) == (24, 17)
    assert outer.mask.shape == (9, 9)
    assert outer.mask.sum() == 17


def test_corners_connect() -> None:
    assert [r.pixels for r in largest_regions(np.eye(6, dtype=np.uint8), [1])] == [6]


def test_few_and_no_specks() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:50] = 1
    labels[60:70, :10] = labels[80, 80] = labels[90, 90] = 2
    assert [r.pixels for r in largest_regions(labels, [1, 2])] == [5000, 100]

    stripes = np.zeros((100, 3), np.uint8)
    stripes[::4] = 1
    assert len(largest_regions(stripes, [1])) == COUNT


def test_nothing_to_look_at() -> None:
    assert largest_regions(np.zeros((5, 5), np.uint8), [1]) == []
    assert largest_regions(np.zeros((5, 5), np.uint8), []) == []
