import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rcm_cascade.data.augment import CHANGES, Augmentation, ChangeRange
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.data.patches import (
    EpochSampler,
    LoadingArguments,
    PatchDataset,
    RegionDataset,
    SampleKey,
    count_classes,
)
from rcm_cascade.data.windows import PatchGeometry, window_grid
from rcm_cascade.errors import InputError
from tests.data.factories import memory_mosaic, textured

GEOMETRY = PatchGeometry(window=64, stride=32, patch=32)


def dataset(sampling: Any = "grid", augmentation: Augmentation | None = None, seed: int = 0) -> PatchDataset:
    mosaics = [memory_mosaic(*textured(100, 131, seed=i)) for i in range(3)]
    return PatchDataset(mosaics, 3, LoadingArguments(GEOMETRY, augmentation, sampling, seed=seed))


def test_one_patch_of_each_window_and_epoch() -> None:
    patches = dataset()
    assert len(patches) == 3 * len(window_grid((100, 131), GEOMETRY))
    for key in EpochSampler(len(patches), seed=0):
        m, top, left = patches[key]["place"].tolist()
        window = patches.windows[key.sample]
        assert m == window[0]
        assert window[1] <= top <= window[3] - 32
        assert window[2] <= left <= window[4] - 32


def test_a_sample_is_what_lies_at_its_place() -> None:
    patches = dataset()
    sample = patches[SampleKey(0, 7)]
    m, top, left = sample["place"].tolist()
    mosaic = patches.mosaics[m]
    assert np.array_equal(sample["image"].numpy(), mosaic.image[top : top + 32, left : left + 32])
    assert mosaic.labels is not None
    assert np.array_equal(sample["labels"].numpy(), mosaic.labels[top : top + 32, left : left + 32])


STRONG = Augmentation(
    intensity={name: ChangeRange(strength=0.1, p=0.5) for name in CHANGES if name != "shift"},
)


@pytest.mark.parametrize("augmentation", [Augmentation(), STRONG])
def test_samples_depend_on_seed_epoch_and_number_alone(augmentation: Augmentation) -> None:
    a, b = dataset(augmentation=augmentation), dataset(augmentation=augmentation)
    for other in (3, 1, 4):
        b[SampleKey(5, other)]  # what was drawn before must not matter
    first, again = a[SampleKey(1, 2)], b[SampleKey(1, 2)]
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["place"], a[SampleKey(2, 2)]["place"])
    seed_one = dataset(augmentation=Augmentation(), seed=1)[SampleKey(1, 2)]
    assert not torch.equal(first["augment"]["linear"], seed_one["augment"]["linear"])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_batches_change_nothing(workers: int) -> None:
    patches = dataset(augmentation=STRONG)
    expected = {key.sample: patches[key] for key in EpochSampler(len(patches), seed=0)}
    sampler = EpochSampler(len(patches), seed=0)
    order = [key.sample for key in sampler]
    loader = DataLoader(patches, batch_size=7, sampler=sampler, num_workers=workers)
    images = torch.cat([batch["image"] for batch in loader])
    assert all(torch.equal(images[i], expected[sample]["image"]) for i, sample in enumerate(order))


def test_patches_without_a_label_are_never_drawn() -> None:
    image, labels = textured(128, 128)
    labels[:] = 255
    labels[100, 100] = 1
    patches = PatchDataset([memory_mosaic(image, labels)], 3, LoadingArguments(GEOMETRY, None))
    assert 0 < len(patches) < len(window_grid((128, 128), GEOMETRY))
    for epoch in range(5):
        for i in range(len(patches)):
            assert (patches[SampleKey(epoch, i)]["labels"] == 1).any()


def test_no_label_at_all_is_refused() -> None:
    image, labels = textured(64, 64)
    labels[:] = 255
    with pytest.raises(InputError, match="labelled pixel"):
        PatchDataset([memory_mosaic(image, labels)], 3, LoadingArguments(GEOMETRY, None))


def test_a_mosaic_smaller_than_a_patch_is_padded_not_skipped() -> None:
    image, labels = textured(20, 25)
    patches = PatchDataset([memory_mosaic(image, labels)], 3, LoadingArguments(GEOMETRY, Augmentation()))
    sample = patches[SampleKey(0, 0)]
    assert len(patches) == 1
    assert sample["image"].shape == (patches.read_side, patches.read_side)
    assert (sample["labels"] == 255).sum() > 32 * 32 - 20 * 25
    assert (sample["labels"] != 255).any()


def test_balanced_drawing_shows_rare_classes_as_often() -> None:
    image, labels = textured(400, 400, unlabelled=0.1)
    labels[labels == 2] = 0
    labels[200:204, 200:204] = 2
    patches = PatchDataset([memory_mosaic(image, labels)], 3, LoadingArguments(GEOMETRY, None, "balanced"))
    held = Counter(
        c for i in range(len(patches)) for c in np.unique(patches[SampleKey(0, i)]["labels"]).tolist() if c != 255
    )
    assert held[2] > 0.25 * len(patches)
    grid = PatchDataset([memory_mosaic(image, labels)], 3, LoadingArguments(GEOMETRY, None))
    rare = sum(bool((grid[SampleKey(0, i)]["labels"] == 2).any()) for i in range(len(grid)))
    assert rare < 0.1 * len(grid)


def test_counts_of_classes_in_windows_are_exact() -> None:
    _, labels = textured(90, 70)
    windows = window_grid((90, 70), PatchGeometry(32, 16, 16))
    counts = count_classes(labels, windows, 3)
    for window, row in zip(windows, counts, strict=True):
        inside = labels[window[0] : window[2], window[1] : window[3]]
        assert row.tolist() == [(inside == c).sum() for c in range(3)]


@pytest.mark.slow
def test_counting_takes_no_time_worth_remembering() -> None:
    """A table of sums a class took 0.24 s a megapixel, in each job and process."""
    labels = np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8) % 6, np.ones((512, 512), np.uint8))
    windows = window_grid((4096, 4096), PatchGeometry(1024, 512, 512))
    started = time.perf_counter()
    count_classes(labels, windows, 6)
    assert time.perf_counter() - started < 0.02 * labels.size / 1e6


@pytest.mark.parametrize(("samples", "ranks", "batch"), [(11, 2, 2), (13, 3, 4), (16, 2, 4), (25, 4, 3)])
def test_ranks_take_together_what_one_process_would_take_step_by_step(samples: int, ranks: int, batch: int) -> None:
    whole = list(EpochSampler(samples, seed=3))
    parts = [list(EpochSampler(samples, 3, rank, ranks, batch)) for rank in range(ranks)]
    assert [len(EpochSampler(samples, 3, rank, ranks, batch)) for rank in range(ranks)] == [len(part) for part in parts]
    steps = -(-samples // (ranks * batch))
    assert {-(-len(part) // batch) for part in parts} == {steps}
    for step in range(steps):
        together = [key for part in parts for key in part[step * batch : (step + 1) * batch] if not key.blank]
        assert sorted(together) == sorted(whole[step * batch * ranks : (step + 1) * batch * ranks])
    assert sum(key.blank for part in parts for key in part) < ranks


def test_a_blank_sample_counts_nowhere() -> None:
    patches = dataset()
    sample, blank = patches[SampleKey(0, 1)], patches[SampleKey(0, 1, blank=True)]
    assert (sample["labels"] != 255).any()
    assert (blank["labels"] == 255).all()
    assert int(blank["place"][0]) == -1
    assert torch.equal(blank["image"], sample["image"])


def test_epochs_are_ordered_differently_and_mix_mosaics() -> None:
    sampler = EpochSampler(len(dataset()), seed=0)
    first = [key.sample for key in sampler]
    sampler.set_epoch(1)
    second = [key.sample for key in sampler]
    assert sorted(first) == sorted(second) == list(range(len(first)))
    assert first != second
    mosaics = [dataset().windows[i, 0] for i in first[:8]]
    assert len(set(mosaics)) > 1


def with_a_rare_class() -> list[Mosaic]:
    made = [memory_mosaic(*textured(200, 260, seed=i)) for i in range(2)]
    for mosaic in made:
        assert mosaic.labels is not None
        mosaic.labels[mosaic.labels == 2] = 0
    rare = made[1].labels
    assert rare is not None
    rare[150:154, 10:14] = 2
    return made


def test_rare_classes_are_seen() -> None:
    chosen = RegionDataset(with_a_rare_class(), 64, 3, 3)
    assert len(chosen) == 3
    assert any(bool((chosen[i]["labels"] == 2).any()) for i in range(3))


def test_the_choice_is_fixed_distinct_and_no_larger_than_there_is() -> None:
    first, again = (RegionDataset(with_a_rare_class(), 64, 500, 3).regions for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first) == 2 * 4 * 5


def test_no_mosaics_no_regions() -> None:
    assert len(RegionDataset([], 64, 5, 3)) == 0


def test_a_region_beyond_a_small_mosaic_is_unlabelled_there() -> None:
    image, labels = textured(40, 50)
    (sample,) = (RegionDataset([memory_mosaic(image, labels)], 64, 5, 3)[i] for i in range(1))
    assert np.array_equal(sample["image"][:40, :50].numpy(), image)
    assert (sample["labels"][40:] == 255).all()
    assert torch.equal(sample["augment"]["linear"], torch.eye(2))
