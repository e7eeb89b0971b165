from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.phantom.fields import Grid
from rcm_cascade.phantom.tile import PITCH_UM, SIDE_PX, Tile, grain_tile, honeycomb_tile

SIDE_UM = SIDE_PX * PITCH_UM


@pytest.fixture(params=[grain_tile, honeycomb_tile])
def tile(request: pytest.FixtureRequest) -> Tile:
    make: Callable[[np.random.Generator], Tile] = request.param
    return make(np.random.default_rng(0))


@pytest.mark.parametrize("pitch_um", [1.0, 2.0, 3.3, 4.0, 16.0])
def test_a_tile_is_the_same_place_at_any_pitch(tile: Tile, pitch_um: float) -> None:
    def view(pitch: float) -> NDArray[np.float32]:
        side = round(1600 / pitch)
        values = tile.on(Grid(side, side, pitch))
        return np.asarray(cv2.resize(values, (32, 32), interpolation=cv2.INTER_AREA), np.float32)

    assert np.corrcoef(view(pitch_um).reshape(-1), view(1.0).reshape(-1))[0, 1] > 0.75


def test_a_tile_repeats_without_a_seam(tile: Tile) -> None:
    grid = Grid(2 * SIDE_PX, SIDE_PX, PITCH_UM)
    values = tile.on(grid)
    np.testing.assert_allclose(values[:SIDE_PX], values[SIDE_PX:], atol=1e-4)
    down = np.abs(np.diff(values, axis=0)).mean(axis=1)
    assert down.max() < 1.6 * np.median(down)
    np.testing.assert_allclose(tile.on(grid, slice(70, 90), slice(5, 25)), values[70:90, 5:25], atol=1e-4)


def test_grain_has_unit_spread_and_honeycomb_mean_one() -> None:
    grain = grain_tile(np.random.default_rng(1)).on(Grid.covering((SIDE_UM, SIDE_UM), 4.0))
    assert grain.mean() == pytest.approx(0, abs=0.02)
    assert grain.std() == pytest.approx(1, abs=0.05)
    honeycomb = honeycomb_tile(np.random.default_rng(1))
    assert honeycomb.values.mean() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("cell_um", [14.0, 18.0, 25.0])
def test_cells_have_their_size(cell_um: float) -> None:
    values = honeycomb_tile(np.random.default_rng(2), cell_um).values
    crossings = (np.diff((values > 1.2).astype(int), axis=1) > 0).sum(axis=1).mean()  # outlines met along a row
    assert SIDE_UM / crossings == pytest.approx(cell_um, rel=0.35)
