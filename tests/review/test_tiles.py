"""Tiles put together are the map again."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.annotate.pyramid import TILE, halvings
from rcm_cascade.classes import RCM_CLASSES, UNLABELLED
from rcm_cascade.review.tiles import draw_class, draw_classes, draw_entropy, draw_grey, write_tiles


def joined(folder: Path, level: int, shape: tuple[int, int], names: list[str]) -> NDArray[np.uint8]:
    """RGBA of a level, transparent where there is no tile."""
    rows, cols = (-(-size // TILE) for size in shape)
    whole = np.zeros((rows * TILE, cols * TILE, 4), np.uint8)
    for name in names:
        col, row = map(int, name.split("_"))
        (path,) = (folder / str(level)).glob(f"{name}.*")
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGBA"))
        whole[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE] = pixels
    assert len(list((folder / str(level)).iterdir())) == len(names)
    return whole[: shape[0], : shape[1]]


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    ids = np.zeros((1100, 1700), np.uint8)
    ids[:, 1200:] = 4
    ids[700:, 1500:] = UNLABELLED
    ids[3, 5] = 5
    return ids


@pytest.mark.parametrize(("side", "expected"), [(1, 0), (512, 0), (513, 1), (1024, 1), (1025, 2), (12000, 5)])
def test_one_tile_holds_the_coarsest_level(side: int, expected: int) -> None:
    assert halvings((side, 1)) == halvings((1, side)) == expected


def test_a_class_is_where_it_is_and_nothing_is_written_where_it_is_not(
    tmp_path: Path, labels: NDArray[np.uint8]
) -> None:
    found = write_tiles(tmp_path / "c", labels, draw_class(4, (1, 2, 3)))
    assert set(found) == {0, 1, 2}
    assert set(found[2]) == {"2_0", "2_1", "2_2", "3_0", "3_1"}
    for level in found:
        step = 2 ** (2 - level)
        small = labels[::step, ::step]
        picture = joined(tmp_path / "c", level, (small.shape[0], small.shape[1]), found[level])
        assert np.array_equal(picture[..., 3] == 255, small == 4)
        assert (picture[small == 4][:, :3] == (1, 2, 3)).all()


def test_classes_have_their_colours_and_unlabelled_is_transparent(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    found = write_tiles(tmp_path / "t", labels, draw_classes(RCM_CLASSES))
    picture = joined(tmp_path / "t", 2, (1100, 1700), found[2])
    assert np.array_equal(picture[..., 3] == 0, labels == UNLABELLED)
    assert (picture[labels == 4][:, :3] == RCM_CLASSES.classes[4].rgb).all()
    assert tuple(picture[3, 5, :3]) == RCM_CLASSES.classes[5].rgb


def test_the_image_is_as_bright_at_every_level(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:1100, :1700]
    image = ((np.sin(rows / 60) + np.cos(cols / 90)) * 60 + 125).astype(np.uint8)
    found = write_tiles(tmp_path / "i", image, draw_grey, average=True, fill=0)
    for level, step in ((2, 1), (1, 2), (0, 4)):
        picture = joined(tmp_path / "i", level, (1100 // step, 1700 // step), found[level])[..., 0].astype(int)
        blocks = image.reshape(1100 // step, step, 1700 // step, step).mean(axis=(1, 3))
        assert np.abs(picture - blocks).max() < 12
        assert np.abs(picture - blocks).mean() < 2


def test_what_is_doubted_is_bright_and_what_is_sure_is_transparent(tmp_path: Path) -> None:
    entropy = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    found = write_tiles(tmp_path / "e", entropy, draw_entropy(), fill=0)
    picture = joined(tmp_path / "e", 0, (4, 256), found[0])
    assert picture[0, 0, 3] == 0
    assert (np.diff(picture[0, :, 3].astype(int)) >= 0).all()
    assert picture[0, 255, :3].sum() > picture[0, 60, :3].sum()
