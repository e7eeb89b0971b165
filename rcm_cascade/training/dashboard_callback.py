"""What a validation found, on the dashboard: scores by class, confusions, and a few regions with their masks."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.data.datamodule import Batch, MosaicDataModule
from rcm_cascade.data.regions import BLANK, RegionDataset
from rcm_cascade.pictures.shrink import shrink_factor, shrink_image, shrink_labels
from rcm_cascade.training.dashboard import Dashboard
from rcm_cascade.training.dashboard_media import confusion_image, region_image, score_table
from rcm_cascade.training.module import CascadeModule

REGION_PX: Final = 512
"""Longest side of a region as shown: a validation is then about 0.3 MB, and half a second of one core."""


class ShowValidation(Callback):
    """Shows ``val/scores``, ``val/confusion`` and ``val/regions`` at every n-th validation, beginning with the first.

    The network is not run again: `CascadeModule.validation_step` returns what it predicted, as ``prediction``, class
    ids ``(B, H, W)`` uint8. Regions are shown of rank 0's share.

    Args:
        dashboard: the job's.
        regions: that are validated on.
        count: so many of them are shown, evenly spread, always the same; 0: none.
        every: n.
    """

    def __init__(self, dashboard: Dashboard, regions: RegionDataset, count: int = 4, every: int = 1) -> None:
        self.dashboard, self.regions, self.every, self.count = dashboard, regions, every, count
        self.order: Sequence[int] = range(len(regions))
        self.chosen: list[int] = []
        self.backgrounds: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self.predictions: dict[int, NDArray[np.uint8]] = {}
        self.validations = self.seen = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts counting regions."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(datamodule, MosaicDataModule):
            self.order = datamodule.validation_order()
        spread = np.linspace(0, len(self.order) - 1, min(self.count, len(self.order)))
        self.chosen = [int(place) for place in spread]
        self.seen = 0
        self.predictions = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  # as Lightning has it
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps what was predicted for the chosen regions."""
        first = self.seen
        self.seen += len(batch["image"])
        if not self._due() or not self.dashboard.active:
            return
        for place in self.chosen:
            if first <= place < self.seen and self.order[place] != BLANK:
                prediction: Tensor = outputs["prediction"][place - first]
                self.predictions[self.order[place]] = self._shrink(prediction.cpu().numpy())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows them; stands before the module's own hook, which resets its matrix."""
        assert isinstance(pl_module, CascadeModule)
        due, self.validations = self._due(), self.validations + 1
        if not due:
            return
        # Every rank takes part in the sum over ranks; the module's own call then finds the result ready.
        matrix = pl_module.confusion.compute().cpu().numpy()
        if not self.dashboard.active:
            return
        classes = pl_module.header.classes
        media: dict[str, Any] = {
            "val/scores": score_table(matrix, classes),
            "val/confusion": confusion_image(matrix, classes),
        }
        if self.predictions:
            media["val/regions"] = [
                region_image(*self._background(index), prediction, classes, self._caption(index))
                for index, prediction in self.predictions.items()
            ]
        self.dashboard.show(media)

    def _due(self) -> bool:
        return self.validations % self.every == 0

    def _background(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Grey levels and truth of a region, read once: as the mosaic has them, where a batch is normalised."""
        if index not in self.backgrounds:
            sample = self.regions[index]
            factor = self._factor()
            image, labels = sample["image"].numpy(), sample["labels"].numpy()
            self.backgrounds[index] = shrink_image(image, factor), shrink_labels(labels, factor)
        return self.backgrounds[index]

    def _caption(self, index: int) -> str:
        region = self.regions.regions[index]
        return f"{self.regions.mosaics[region.mosaic].name}, from row {region.top}, column {region.left}"

    def _shrink(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return shrink_labels(labels, self._factor())

    def _factor(self) -> int:
        return shrink_factor((self.regions.side, self.regions.side), REGION_PX)
