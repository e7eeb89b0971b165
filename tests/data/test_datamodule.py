import os

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.datamodule import Coverage, MosaicDataModule, prepare
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.windows import PatchGeometry
from tests.data.factories import memory_mosaic, textured

GEOMETRY = PatchGeometry(64, 32, 32)


def made(max_regions: int | None = None, steps_per_epoch: int | None = None, on_gpu: bool = False) -> MosaicDataModule:
    training = [memory_mosaic(*textured(160, 160, seed=i)) for i in range(3)]
    validation = [memory_mosaic(*textured(160, 160, seed=9))]
    arguments = LoadingArguments(
        GEOMETRY,
        Augmentation(),
        batch_size=4,
        region_side=64,
        max_regions=max_regions,
        steps_per_epoch=steps_per_epoch,
        on_gpu=on_gpu,
    )
    return MosaicDataModule(training, validation, 3, arguments)


def test_batches_are_uint8_until_they_are_on_the_device() -> None:
    batch = next(iter(made().train_dataloader()))
    assert batch["image"].dtype == batch["labels"].dtype == torch.uint8
    assert batch["image"].shape[0] == 4
    ready = prepare(batch, 32)
    assert ready["image"].shape == (4, 1, 32, 32)
    assert ready["labels"].shape == (4, 32, 32)
    assert ready["image"].is_contiguous(memory_format=torch.channels_last)


def test_a_prepared_image_has_its_mosaics_zero_mean_and_unit_spread() -> None:
    datamodule = MosaicDataModule(
        [memory_mosaic(*textured(320, 320))],
        [],
        3,
        LoadingArguments(PatchGeometry(320, 320, 320), None),
    )
    image = prepare(datamodule.example(1), 320)["image"]
    assert abs(float(image.mean())) < 1e-4
    assert abs(float(image.std()) - 1) < 1e-3


def test_an_epochs_steps_and_the_limit_on_them() -> None:
    assert made().steps_per_epoch == -(-3 * 16 // 4)
    assert made(steps_per_epoch=2).steps_per_epoch == 2


def test_validation_stays_within_its_share() -> None:
    datamodule = made()
    trained = datamodule.steps_per_epoch * 4 * 32**2
    validated = len(datamodule.regions) * 64**2
    assert validated / datamodule.validate_every <= 0.31 * trained
    assert len(made(max_regions=1).regions) == 1


def test_class_pixels_are_counted_over_training_mosaics() -> None:
    datamodule = made()
    expected = np.zeros(3, int)
    for mosaic in datamodule.patches.mosaics:
        assert mosaic.labels is not None
        expected += np.bincount(np.asarray(mosaic.labels).reshape(-1), minlength=256)[:3]
    assert datamodule.class_pixels().tolist() == expected.tolist()


def test_coverage_of_the_labelled_area() -> None:
    image, labels = textured(64, 64)
    labels[:, 32:] = 255
    labels[:, :32] = 1
    coverage = Coverage([memory_mosaic(image, labels)], patch=32)
    assert coverage.share() == 0
    coverage.add(np.array([[0, 0, 0]]))
    assert coverage.share() == 0.5
    coverage.add(np.array([[0, 32, 32]]))
    assert coverage.share() == 0.5
    coverage.add(np.array([[0, 32, 0]]))
    assert coverage.share() == 1
    coverage.reset()
    assert coverage.share() == 0


@pytest.mark.parametrize(("environment", "workers"), [(LightningEnvironment(), 2), (SLURMEnvironment(), 5)])
def test_loading_processes_beside_a_gpu_are_this_process_s_share(
    environment: ClusterEnvironment, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    datamodule = made(on_gpu=True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    for name, value in {"CPUS_PER_TASK": 5, "NTASKS": 2, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = Trainer(accelerator="cpu", devices=2, strategy=DDPStrategy(cluster_environment=environment), logger=False)
    datamodule.trainer = trainer
    assert datamodule.train_dataloader().num_workers == workers


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_where_an_epochs_batches_lie_is_known_without_reading_them(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MosaicDataModule, "_rank", (0, ranks))
    datamodule = made()
    batches: list[list[list[int]]] = [[] for _ in range(5)]
    for rank in range(ranks):
        monkeypatch.setattr(MosaicDataModule, "_rank", (rank, ranks))
        loader = datamodule.train_dataloader()
        loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
        for own, batch in zip(batches, loader, strict=False):
            own += batch["place"].tolist()
    expected = [(datamodule.patches.mosaics[m].name, y, x) for batch in batches[1:3] for m, y, x in batch]
    found, count = datamodule.places(2, range(1, 3), 100)
    assert count == len(found) == len(expected) == 8 * ranks
    assert sorted(found) == sorted(expected)
    if ranks == 1:
        assert found == expected[::-1]
        assert datamodule.places(2, range(1, 3), 3) == (expected[:-4:-1], 8)


@pytest.mark.parametrize("limit", [None, 3])
def test_the_smallest_batch_of_an_epoch(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for samples in (16, 17, 19, 33, 45):
        for ranks in (1, 2, 3):
            datamodule, sizes = made(steps_per_epoch=limit), []
            datamodule.patches.windows = datamodule.patches.windows[:samples]
            for rank in range(ranks):
                monkeypatch.setattr(MosaicDataModule, "_rank", (rank, ranks))
                batches = list(datamodule.train_dataloader())[: datamodule.steps_per_epoch]
                sizes += [len(batch["image"]) for batch in batches]
            assert datamodule.smallest_batch(ranks) == min(sizes), (samples, ranks)
