import numpy as np
import torch

from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.data.regions import RegionDataset, validation_regions
from tests.data.making import memory_mosaic, textured


def mosaics() -> list[Mosaic]:
    made = [memory_mosaic(*textured(200, 260, seed=i)) for i in range(2)]
    for mosaic in made:
        assert mosaic.labels is not None
        mosaic.labels[mosaic.labels == 2] = 0
    rare = made[1].labels
    assert rare is not None
    rare[150:154, 10:14] = 2
    return made


def test_rare_classes_are_seen() -> None:
    chosen = validation_regions(mosaics(), 64, 3, 3)
    assert len(chosen) == 3
    dataset = RegionDataset(mosaics(), chosen, 64)
    assert any(bool((dataset[i]["labels"] == 2).any()) for i in range(3))


def test_the_choice_is_fixed_distinct_and_no_larger_than_there_is() -> None:
    first, again = (validation_regions(mosaics(), 64, 500, 3) for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) == 2 * 4 * 5


def test_no_mosaics_no_regions() -> None:
    assert validation_regions([], 64, 5, 3) == []


def test_a_region_beyond_a_small_mosaic_is_unlabelled_there() -> None:
    image, labels = textured(40, 50)
    mosaic = memory_mosaic(image, labels)
    (region,) = validation_regions([mosaic], 64, 5, 3)
    sample = RegionDataset([mosaic], [region], 64)[0]
    assert np.array_equal(sample["image"][:40, :50].numpy(), image)
    assert (sample["labels"][40:] == 255).all()
    assert torch.equal(sample["augment"]["linear"], torch.eye(2))
