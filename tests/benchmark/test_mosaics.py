from pathlib import Path

import numpy as np
import pytest
import tifffile

from rcm_cascade.benchmark.mosaics import enlarged, write_mosaic
from rcm_cascade.data.formats import pixel_size
from tests.annotate.telling import noise


def test_a_mosaic_is_mirrored_to_a_larger_shape_and_cut_to_a_smaller_one() -> None:
    image = noise(20, 30, seed=90)

    found = enlarged(image, (47, 25))

    assert found.shape == (47, 25)
    assert np.array_equal(found[:20], image[:, :25])
    assert np.array_equal(found[20:40], image[::-1, :25])
    assert np.array_equal(found[40:], image[:7, :25])
    assert found.flags.c_contiguous


def test_the_mosaic_states_its_pixel_size_and_is_compressed(tmp_path: Path) -> None:
    image = enlarged(noise(60, 70, seed=92), (700, 900))

    write_mosaic(tmp_path / "m.tif", image, 0.5)

    assert np.array_equal(tifffile.imread(tmp_path / "m.tif"), image)
    found, source = pixel_size(tmp_path / "m.tif", None, None)
    assert found == pytest.approx(0.5)
    assert source == "file"
    assert (tmp_path / "m.tif").stat().st_size < image.size
