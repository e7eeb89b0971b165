import numpy as np

from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.pictures.comparison import batch_picture
from tests.conftest import THREE
from tests.data.factories import memory_mosaic, textured


def test_patches_before_and_after_augmentation() -> None:
    arguments = LoadingArguments(PatchGeometry(64, 32, 32), Augmentation())
    mosaics = [memory_mosaic(*textured(160, 160, seed=i)) for i in range(2)]
    datamodule = MosaicDataModule(mosaics, [], 3, arguments)
    picture = np.asarray(batch_picture(datamodule, THREE, 8.0, count=3))
    assert picture.shape[1] > 3 * 192
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    still = LoadingArguments(PatchGeometry(64, 32, 32), None)
    unchanged = np.asarray(batch_picture(MosaicDataModule(mosaics, [], 3, still), THREE, 8.0, count=3))
    assert not np.array_equal(picture, unchanged)
