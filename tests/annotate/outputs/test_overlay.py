from typing import Any

import numpy as np
import pytest

from rcm_cascade.annotate.annotator import SYNTHETIC
from rcm_cascade.annotate.outputs import overlay
from rcm_cascade.annotate.outputs.overlay import draw_overlay
from rcm_cascade.annotate.regions import largest_regions
from rcm_cascade.pictures import figure
from rcm_cascade.pictures.maps import blend
from tests.annotate.annotated import annotated

WHITE = (255, 255, 255)


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `compose` is asked for."""
    calls: dict[str, Any] = {}

    def compose(panels: Any, classes: Any, **rest: Any) -> Any:
        calls.update(rest, panels=panels, classes=classes)
        return figure.compose(panels, classes, **rest)

    monkeypatch.setattr(overlay, "compose", compose)
    return calls


def test_regions_are_outlined_in_white_and_nothing_else_changes(composed: dict[str, Any]) -> None:
    labels = np.zeros((300, 400), np.uint8)
    labels[100:200, 100:200] = 4
    labels[120:150, 133:160] = 2
    mosaic = annotated(labels=labels)
    (region,) = mosaic.regions
    plain = blend(mosaic.mosaic.native_image, mosaic.labels, mosaic.classes)

    draw_overlay(mosaic)

    shown = composed["panels"][0].rgb
    assert shown.shape == plain.shape
    changed = (shown != plain).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.mean() < 0.1
    assert abs(rows.min() - region.top) <= 3
    assert abs(columns.max() - (region.left + region.width - 1)) <= 3
    for row, column in ((region.top, region.left + 50), (region.top + 40, region.left)):
        assert tuple(shown[row, column]) == WHITE
    entry = composed["classes"].classes[-1]
    assert (entry.name, entry.color) == ("outlined and numbered: look here first", "#ffffff")
    assert composed["caption"].startswith("Look here first, largest regions: 1 nested 0.0")


def test_without_regions_the_picture_is_the_blend_alone(composed: dict[str, Any]) -> None:
    labels = np.full((300, 400), 2, np.uint8)
    mosaic = annotated(labels=labels, pixel_size_um=None, pixel_size_source="unknown")

    draw_overlay(mosaic)

    assert np.array_equal(composed["panels"][0].rgb, blend(mosaic.mosaic.native_image, mosaic.labels, mosaic.classes))
    assert composed["classes"] == mosaic.classes
    assert composed["pixel_size_um"] is None
    assert "Look" not in composed["caption"]


def test_large_mosaics_are_shrunk_and_the_outline_with_them(
    composed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "LONGEST", 150)
    mosaic = annotated(301, 443)
    regions = mosaic.regions

    draw_overlay(mosaic)

    shown = composed["panels"][0].rgb
    assert shown.shape == (101, 148, 3)
    assert composed["pixel_size_um"] == pytest.approx(6.0)
    top, left = regions[0].top // 3, regions[0].left // 3
    assert WHITE in {tuple(shown[row, left + 15]) for row in range(top - 1, top + 3)}


def test_a_region_below_a_shown_pixel_is_still_shown() -> None:
    labels = np.zeros((50, 50), np.uint8)
    labels[17, 23] = 4
    (region,) = largest_regions(labels, [4])

    top, left, inside = region.shown(10)

    assert (top, left, inside.tolist()) == (1, 2, [[1]])


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_a_shown_pixel_is_inside_if_half_of_it_is(factor: int) -> None:
    mosaic = annotated(60, 77)
    region = largest_regions(mosaic.labels, [4])[0]
    # Labels of one region: whatever is nested belongs to it.
    full = np.pad(mosaic.labels == 4, ((0, -60 % factor), (0, -77 % factor)))
    rows, columns = -(-60 // factor), -(-77 // factor)
    expected = full.reshape(rows, factor, columns, factor).mean(axis=(1, 3)) >= 0.5

    top, left, inside = region.shown(factor)

    shown = np.zeros((rows, columns), np.uint8)
    shown[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_caption_names_the_software_and_its_training(synthetic: bool, composed: dict[str, Any]) -> None:
    draw_overlay(annotated(synthetic=synthetic))

    assert "rcm_cascade 0." in composed["caption"]
    assert (SYNTHETIC in composed["caption"]) == synthetic


def test_the_caption_says_when_the_pixel_size_is_assumed(composed: dict[str, Any]) -> None:
    draw_overlay(annotated(pixel_size_source="assumed"))

    assert "The pixel size is not known; 2 µm is assumed." in composed["caption"]


def test_one_pixel_can_be_shown() -> None:
    mosaic = annotated(image=np.array([[7]], np.uint8), labels=np.array([[4]], np.uint8))

    assert draw_overlay(mosaic).size[0] > 1


@pytest.mark.parametrize(("height", "width"), [(1700, 1690), (3500, 700), (700, 3500), (5100, 5050)])
def test_the_picture_has_two_thousand_px_a_side_at_most(height: int, width: int) -> None:
    picture = draw_overlay(annotated(height, width, synthetic=True))
    assert max(picture.size) <= 2000
