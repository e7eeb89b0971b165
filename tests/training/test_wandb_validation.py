from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.datamodule import MosaicDataModule, prepare
from rcm_cascade.data.patches import LoadingArguments
from rcm_cascade.data.windows import PatchGeometry
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.pictures.maps import shrink_image, shrink_labels
from rcm_cascade.training import wandb as training_wandb
from rcm_cascade.training.history import MetricsCsv
from rcm_cascade.training.loss import LossArguments
from rcm_cascade.training.module import CascadeModule, OptimArguments
from rcm_cascade.training.wandb import ShowValidation, open_wandb
from tests.data.factories import memory_mosaic, textured
from tests.training.wandb_file import read_wandb

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance\\(treespec, LeafSpec\\)"),  # Lightning 2.6 asks torch the old way
]

SIDE = 64


@dataclass
class Trained:
    """A job of seconds."""

    module: CascadeModule
    datamodule: MosaicDataModule
    history: MetricsCsv
    forwards: int

    def prediction(self, index: int) -> NDArray[np.uint8]:
        """What the network says of a validation region, as it was left."""
        sample = torch.utils.data.default_collate([self.datamodule.regions[index]])
        with torch.no_grad():
            logits = self.module.eval().network(prepare(sample, SIDE)["image"])[-1]
        predicted: NDArray[np.uint8] = logits.argmax(dim=1)[0].to(torch.uint8).numpy()
        return predicted


def train(folder: Path, classes: ClassTable, epochs: int = 4, count: int = 4) -> Trained:
    """Trains on mosaics whose classes differ in brightness, with five validation regions in batches of two."""
    training = [memory_mosaic(*textured(160, 160, seed=i)) for i in range(7)]
    validation = [memory_mosaic(*textured(160, 160, seed=8 + i), name=f"v{i}") for i in range(2)]
    arguments = LoadingArguments(PatchGeometry(64, 32, 32), None, batch_size=8, region_side=SIDE, max_regions=5)
    datamodule = MosaicDataModule(training, validation, 3, arguments)
    assert len(datamodule.regions) == 5
    assert len({mosaic for mosaic, _, _ in datamodule.regions.regions}) == 2
    torch.manual_seed(0)
    header = CheckpointHeader(CascadeArguments(num_classes=3, levels=1, base_depth=1, base_filters=4), classes, 1.0)
    module = CascadeModule(header, LossArguments(), OptimArguments(lr=0.05))
    validating: list[int] = []
    module.network.register_forward_hook(lambda network, *_: None if network.training else validating.append(1))
    history = MetricsCsv(folder / "metrics.csv")
    run = open_wandb(folder, project="p", config={})
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, limit_train_batches=datamodule.steps_per_epoch, log_every_n_steps=1,
        num_sanity_val_steps=0, use_distributed_sampler=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, logger=[history, *([] if run is None else [run])], default_root_dir=folder,
        callbacks=[] if run is None else [ShowValidation(run, datamodule.regions, count)],
    )  # fmt: skip
    trainer.fit(module, datamodule)
    if run is not None:
        run.close(0)
    return Trained(module, datamodule, history, len(validating))


@pytest.fixture
def trained(wandb_offline: Path, tmp_path: Path, classes: ClassTable, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr(training_wandb, "REGION_PX", SIDE // 2)
    return train(tmp_path / "a", classes)


def test_a_validation_is_shown_in_the_row_of_its_numbers(trained: Trained, tmp_path: Path) -> None:
    content = read_wandb(tmp_path / "a")
    assert [row["_step"] for row in content.history] == list(trained.history.rows)
    for row, numbers in zip(content.history, trained.history.rows.values(), strict=True):
        for key, value in numbers.items():
            assert key == "step" or row[key] == pytest.approx(value), key
        assert {
            "val/confusion",
            "val/regions",
            "val/sensitivity_a",
            "train/loss_level1",
            "train/grad_norm_level1",
        } <= set(row)
    (confusion,) = content.history[-1]["val/confusion"]["filenames"]
    assert min(content.pixels(confusion).shape[:2]) > 200


def test_masks_lie_on_their_own_regions(trained: Trained, tmp_path: Path) -> None:
    content = read_wandb(tmp_path / "a")
    shown = content.history[-1]["val/regions"]
    regions = trained.datamodule.regions
    assert shown["count"] == 4
    different = set()
    for place, index in enumerate((0, 1, 2, 4)):
        (mosaic, top, left), sample = regions.regions[index], regions[index]
        assert shown["captions"][place] == f"v{mosaic}, from row {top}, column {left}"
        picture = content.pixels(shown["filenames"][place])
        assert np.abs(picture - shrink_image(sample["image"].numpy(), 2).astype(float)).mean() < 6
        predicted = shrink_labels(trained.prediction(index), 2)
        different.add(predicted.tobytes())
        for name, mask in (("prediction", predicted), ("truth", shrink_labels(sample["labels"].numpy(), 2))):
            assert len(np.unique(mask)) > 1
            assert np.array_equal(content.pixels(shown["all_masks"][place][name]["path"]), mask)
    assert len(different) == 4


def test_the_network_is_not_run_again(trained: Trained) -> None:
    assert trained.forwards == 4 * 3


def test_every_validation_is_shown_and_no_region_where_none_is_asked_for(
    wandb_offline: Path, tmp_path: Path, classes: ClassTable
) -> None:
    trained = train(tmp_path / "a", classes, epochs=3, count=0)
    content = read_wandb(tmp_path / "a")
    assert [step for step, _ in content.column("val/confusion")] == list(trained.history.rows)
    assert len(content.column("val/mean_sensitivity")) == 3
    assert content.column("val/regions") == []


def test_disabled_changes_nothing(
    wandb_offline: Path, tmp_path: Path, classes: ClassTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = train(tmp_path / "a", classes, epochs=1)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    hidden = train(tmp_path / "b", classes, epochs=1)
    (a,), (b,) = shown.history.rows.values(), hidden.history.rows.values()
    assert a == b
    assert not (tmp_path / "b" / "wandb").exists()
