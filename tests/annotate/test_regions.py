import numpy as np
import pytest
from scipy import ndimage

from rcm_cascade.annotate.fields import count_fields
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


def test_regions_are_those_of_another_implementation() -> None:
    rng = np.random.default_rng(1)
    several = 0
    for _ in range(30):
        labels = (rng.random(rng.integers(1, 40, 2)) < rng.choice([0.2, 0.4, 0.6])).astype(np.uint8)
        components, number = ndimage.label(labels, np.ones((3, 3)))

        regions = largest_regions(labels, [1])

        areas = np.sort(np.bincount(components.ravel(), minlength=number + 1)[1:])[::-1][:COUNT]
        assert [r.pixels for r in regions] == [a for a in areas if a >= 0.02 * areas[0]]
        several += len(regions) > 1
        for region in regions:
            box = np.s_[region.top : region.top + region.height, region.left : region.left + region.width]
            row, column = np.argwhere(region.mask)[0]
            component = components[box][row, column]
            assert ndimage.find_objects(components)[component - 1] == box
            assert region.pixels == (components == component).sum()
            assert region.centroid == pytest.approx(ndimage.center_of_mass(components == component))
            np.testing.assert_array_equal(region.mask, components[box] == component)
    assert several > 10


def test_of_equal_regions_the_one_that_begins_higher_comes_first() -> None:
    labels = np.zeros((30, 30), np.uint8)
    for place in range(0, 30, 3):
        labels[place, 29 - place] = 1

    assert [r.top for r in largest_regions(labels, [1])] == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 50])
def test_shares_are_means_of_blocks(factor: int) -> None:
    labels = np.zeros((44, 53), np.uint8)
    labels[9:31, 11:40] = labels[20:44, 30:53] = labels[3:10, 39] = 1
    (region,) = largest_regions(labels, [1])
    full = np.pad(labels, ((0, -44 % factor), (0, -53 % factor)))
    blocks = full.reshape(len(full) // factor, factor, -1, factor).mean(axis=(1, 3))

    top, left, shares = region.shares(factor)

    np.testing.assert_array_equal(shares, blocks[top : top + shares.shape[0], left : left + shares.shape[1]])
    assert shares.sum() * factor**2 == pytest.approx(labels.sum())


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


def test_a_region_has_its_own_mean_and_the_patterns_of_the_fields_around_it() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[100:200, 100:200] = 4
    labels[300:400, 100:200] = 5  # two fields below
    labels[200:300, 200:300] = 3
    values = np.where(labels == 4, 200, 10).astype(np.uint8)
    values[100, 100] = 0
    (nested,) = largest_regions(labels, [4])
    fields = count_fields(labels, 5.0)  # of 100 px

    assert nested.mean_of(values) == pytest.approx((9999 * 200) / 10_000)
    assert nested.most_in(fields, [2, 3, 4, 5]) == 2
    (below,) = largest_regions(labels, [5])
    assert below.most_in(fields, [2, 3, 4, 5]) == 2
    assert below.most_in(fields, [5]) == 1
