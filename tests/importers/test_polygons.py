import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from rcm_cascade.importers import polygons
from rcm_cascade.importers.polygons import area, inside


def burnt(rings: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    found = np.zeros(shape, bool)
    for rows, cols, pixels in inside(rings, shape):
        found[rows, cols] |= pixels
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("strip", [40, 2**24])
def test_a_pixel_is_inside_if_its_centre_is(seed: int, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "STRIP_PIXELS", strip)
    draw = np.random.default_rng(seed)
    angles = np.sort(draw.uniform(0, 2 * np.pi, 17))
    outline = 15 + np.stack([np.cos(angles), np.sin(angles)], 1) * draw.uniform(4, 22, (17, 1))
    hole = 15 + np.stack([np.cos(angles), np.sin(angles)], 1) * 2.3
    shape = shapely.Polygon(outline).difference(shapely.Polygon(hole))
    rows, cols = np.mgrid[:30, :33]
    expected = shapely.contains_xy(shape, cols + 0.5, rows + 0.5)
    rings = [np.array(r.coords) for p in shapely.get_parts(shape) for r in (p.exterior, *p.interiors)]

    assert np.array_equal(burnt(rings, (30, 33)), expected)


def test_pixel_edges_come_back_bit_for_bit() -> None:
    mask = cv2.resize(np.random.default_rng(1).integers(0, 2, (12, 9), np.uint8), (45, 60), interpolation=0) == 1
    cells = shapely.unary_union([shapely.box(c, r, c + 1, r + 1) for r, c in np.argwhere(mask)])
    found = np.zeros(mask.shape, bool)
    for part in shapely.get_parts(cells):
        found |= burnt([np.array(r.coords) for r in (part.exterior, *part.interiors)], mask.shape)

    assert np.array_equal(found, mask)


def test_what_lies_outside_is_cut_off() -> None:
    square = np.array([[-5, -5], [4, -5], [4, 3], [-5, 3]], float)

    assert np.array_equal(np.argwhere(burnt([square], (10, 10))), np.argwhere(np.ones((3, 4))))
    assert inside([square - 100], (10, 10)) == []


def test_area_is_the_outline_s_less_the_holes() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)

    assert area([square, square * 0.2]) == 96
