"""Polygons lose nothing: valid, of the right area, and burnt again the label map bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from rcm_cascade.annotate import outlines as module
from rcm_cascade.annotate.outlines import Outline, outlines
from rcm_cascade.importers.polygons import Rings, burn

Labels = NDArray[np.uint8]


def noise(seed: int) -> Labels:
    drawn: Labels = np.random.default_rng(seed).integers(0, 4, (67, 83), np.uint8)
    drawn[drawn == 3] = 255
    return drawn


def diagonal(step: int) -> Labels:
    """Squares that touch at their corners alone, and rings of them."""
    rows, cols = np.mgrid[:60, :70] // step
    squares: Labels = ((rows + cols) % 2 * 5).astype(np.uint8)
    return squares


def smooth(seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:300, :400] / 40
    waves = np.sum([np.sin(a * rows + b * cols + c) for a, b, c in rng.normal(size=(9, 3))], axis=0)
    levels: Labels = np.digitize(waves, [-2, -0.5, 0.5, 2]).astype(np.uint8)
    return levels


MAPS: list[Labels] = [
    *(noise(seed) for seed in range(3)), *(diagonal(step) for step in (1, 2, 7)), *(smooth(seed) for seed in range(3)),
    np.zeros((1, 1), np.uint8), np.full((5, 9), 255, np.uint8), noise(4)[:1], noise(4)[:, :1],
]  # fmt: skip


def polygon(region: Outline) -> shapely.Polygon:
    return shapely.Polygon(region.rings[0], region.rings[1:])


def shape(region: Outline) -> tuple[float, int, Rings]:
    """As `burn` takes it."""
    return region.pixels, region.label, [np.array(ring) for ring in region.rings]


@pytest.mark.parametrize("labels", MAPS)
def test_burnt_again_they_are_the_label_map(labels: Labels) -> None:
    found = list(outlines(labels))
    again, overlaps = burn([shape(each) for each in found], (labels.shape[0], labels.shape[1]))
    assert np.array_equal(again, labels)
    assert overlaps == 0


@pytest.mark.parametrize("labels", MAPS)
def test_each_is_valid_and_areas_are_pixel_counts(labels: Labels) -> None:
    found = list(outlines(labels))
    assert all(polygon(each).is_valid for each in found)
    assert all(polygon(each).area == each.pixels for each in found)
    for label in np.unique(labels[labels < 255]):
        assert sum(each.pixels for each in found if each.label == label) == (labels == label).sum()
    assert {each.label for each in found} == set(np.unique(labels[labels < 255]).tolist())


def test_pixels_that_touch_at_a_corner_are_two_regions_and_a_hole_is_a_ring() -> None:
    labels = np.zeros((6, 6), np.uint8)
    labels[1, 1] = labels[2, 2] = 4
    labels[4, 4] = 255
    found = sorted(outlines(labels), key=lambda each: (each.label, each.rings))
    assert [(each.label, each.pixels) for each in found] == [(0, 33), (4, 1), (4, 1)]
    assert len(found[0].rings) == 4  # a hole for each
    assert set(found[1].rings[0]) == {(1, 1), (2, 1), (2, 2), (1, 2)}


@pytest.mark.parametrize("make", [noise, smooth])
def test_blocks_cut_regions_and_lose_none(make: Callable[[int], Labels], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = make(7)
    whole = len(list(outlines(labels)))
    monkeypatch.setattr(module, "EDGES_AT_ONCE", 100)
    monkeypatch.setattr(module, "ROWS", 8)
    test_burnt_again_they_are_the_label_map(labels)
    test_each_is_valid_and_areas_are_pixel_counts(labels)
    assert len(list(outlines(labels))) > whole


def test_entropy_is_the_mean_over_the_region() -> None:
    labels = smooth(1)
    entropy = np.random.default_rng(0).integers(0, 256, labels.shape).astype(np.uint8)
    entropy[labels == 2] //= 4
    for each in outlines(labels, entropy):
        inside = burn([shape(each)], (300, 400))[0] == each.label
        assert each.entropy == pytest.approx(entropy[inside].mean() / 255)
    assert all(each.entropy is None for each in outlines(labels))
