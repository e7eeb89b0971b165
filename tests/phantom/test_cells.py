import numpy as np
import pytest
from scipy.spatial import cKDTree

from rcm_cascade.phantom.cells import Cells, pack, scatter, stretch, wobble
from rcm_cascade.phantom.fields import Field, Grid

SIZE_UM = (2000.0, 2000.0)
EVERYWHERE = Field(np.ones((1, 1), np.float32), Grid(1, 1, 2000.0))


def packing(seed: int = 0) -> Cells:
    """As rings are packed."""
    points, sizes = scatter(np.random.default_rng(seed), SIZE_UM, 98, 0.45, EVERYWHERE, 0.5)
    return pack(points, sizes, 10)


def test_points_keep_apart_by_their_sizes() -> None:
    points, sizes = scatter(np.random.default_rng(0), SIZE_UM, 100, 0.3, EVERYWHERE, softness=0.6)
    pairs = cKDTree(points).query_pairs(150, output_type="ndarray")
    gap = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    assert (gap >= 0.6 * (sizes[pairs[:, 0]] + sizes[pairs[:, 1]]) / 2 - 1e-9).all()
    assert 0.7 < len(points) * 100**2 / 2200**2 < 1.8


def test_points_stay_where_they_are_asked_for() -> None:
    left = Field(np.array([[1.0, -1.0]], np.float32), Grid(1, 2, 1000.0))
    points, _ = scatter(np.random.default_rng(0), SIZE_UM, 100, 0.3, left)
    assert len(points) > 50
    assert points[:, 1].max() < 1000


def test_cells_spread_threefold_in_size() -> None:
    cells = packing()
    inner = ((cells.centres > 200) & (cells.centres < 1800)).all(1)
    diameter = 2 * np.sqrt((cells.radii[inner] ** 2).mean(1))
    low, high = np.percentile(diameter, (5, 95))
    assert 2.7 < high / low < 4
    assert 60 < np.median(diameter) < 120


def test_cells_do_not_overlap() -> None:
    cells = packing()
    tree = cKDTree(cells.centres)
    angle = np.linspace(0, 2 * np.pi, cells.radii.shape[1], endpoint=False)
    tips = cells.centres[:, None] + 0.93 * cells.radii[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    covered = np.zeros(len(cells), int)
    for index, outline in enumerate(tips):
        for neighbour in np.asarray(tree.query(cells.centres[index], 8)[1])[1:]:
            offset = outline - cells.centres[neighbour]
            place = (np.arctan2(offset[:, 0], offset[:, 1]) / (2 * np.pi) * len(angle)) % len(angle)
            reach = cells.radii[neighbour][np.floor(place).astype(int) % len(angle)]
            covered[index] += int((np.linalg.norm(offset, axis=1) < 0.85 * reach).sum())
    assert (covered == 0).mean() > 0.95


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_points_are_discs(count: int) -> None:
    points = np.random.default_rng(0).random((count, 2)) * 500
    cells = pack(points, np.full(count, 100.0), 10)
    assert len(cells) == count
    np.testing.assert_allclose(cells.radii, 85)


def test_wobble_bends_outlines_a_little() -> None:
    cells = packing()
    bent = wobble(cells, np.random.default_rng(1), 0.05)
    ratio = bent.radii / cells.radii
    assert 0.03 < ratio.std() < 0.15


def test_stretched_cells_are_longer_one_way_and_as_large() -> None:
    cells = pack(np.array([[500.0, 400.0]]), np.array([200.0]), 10)
    drawn_out = stretch(cells, np.array([np.pi / 2]), np.array([4.0]))
    extent = np.ptp(drawn_out.outlines()[0], axis=0)
    assert extent[0] / extent[1] == pytest.approx(4, rel=0.1)  # pi / 2 is down
    assert extent[0] * extent[1] == pytest.approx(340**2, rel=0.1)
