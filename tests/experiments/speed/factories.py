"""A small run to time."""

import torch

from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.training.loss import LossArguments
from rcm_cascade.training.module import CascadeModule, OptimArguments
from tests.data.factories import memory_mosaic, textured

PATCH = 32
CPU = torch.device("cpu")


def small_datamodule(batch_size: int = 4, seed: int = 0, num_workers: int | None = None) -> MosaicDataModule:
    mosaics = [memory_mosaic(*textured(160, 160, seed=i)) for i in range(2)]
    arguments = LoadingArguments(
        PatchGeometry(64, 32, PATCH), Augmentation(), batch_size=batch_size, seed=seed, num_workers=num_workers
    )
    return MosaicDataModule(mosaics, [], 3, arguments)


def small_module() -> CascadeModule:
    torch.manual_seed(0)
    classes = ClassTable(tuple(LabelClass(i, name, f"#{i}{i}0000") for i, name in enumerate("abc")))
    model = CascadeArguments(num_classes=3, base_filters=2, levels=2, base_depth=1)
    return CascadeModule(CheckpointHeader(model, classes, 1.0), LossArguments(), OptimArguments())
