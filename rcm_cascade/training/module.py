"""The LightningModule: the network, the error injected at each level, the learning rate, and what is measured."""

import math
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Timer
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torchmetrics import MeanMetric

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.datamodule import Batch
from rcm_cascade.evaluate.confusion import ConfusionMatrix, macro_mean
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.models.checkpoint import HEADER, CheckpointHeader
from rcm_cascade.training.loss import LossArguments, Sum, alone, label_pyramid, level_loss
from rcm_cascade.training.ranks import all_reduce, broadcast

MONITORED = "val/mean_sensitivity"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OptimArguments:
    """AdamW with warm-up and cosine; the ranges are checked where the configuration is read.

    Args:
        lr: highest learning rate.
        weight_decay: of convolution weights; batch norms and biases have none.
        warmup: share of the run over which the rate rises.
        final_lr: share of ``lr`` at the end.
        clip_norm: the gradient's norm is clipped to this; 0: not clipped.
        ema: decay of the exponential moving average of weights and batch-norm buffers, [0, 1); 0: none.
        freeze_norm: batch norms normalise by their running means and variances and leave these as they are: for
            batches too small to measure them.
    """

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    final_lr: Annotated[float, Field(ge=0, le=1)] = 0.01
    clip_norm: Annotated[float, Field(ge=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    freeze_norm: bool = False


def batches_of_step(index: int, batches: int, together: int) -> int:
    """How many batches make the step that a batch belongs to: ``together``, but in an epoch's last step what is left.

    Lightning divides each batch's loss by ``together`` there too.

    Args:
        index: of the batch, in its epoch.
        batches: of the epoch.
        together: `trainer.accumulate`.
    """
    return min(together, batches - index // together * together)


def progress(step: int, max_steps: float, elapsed: float, max_time: float | None) -> float:
    """How much of a run is done: the larger of the share of its steps and the share of its time, in [0, 1].

    Args:
        step: optimiser steps taken.
        max_steps: steps of the whole run; inf: not limited.
        elapsed: seconds spent training, over all resumed parts.
        max_time: seconds of the whole run; None: not limited.
    """
    shares = [done / whole for done, whole in ((step, max_steps), (elapsed, max_time)) if whole]
    return min(max(shares, default=0.0), 1.0)


def warmup_cosine(done: float, warmup: float, final: float) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine (Loshchilov & Hutter 2017).

    Args:
        done: progress in [0, 1].
        warmup: share of the run that warms up, [0, 1).
        final: factor at the end.

    Returns:
        A factor in (0, 1].
    """
    if done < warmup:
        return max(done / warmup, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    return final + (1 - final) * cosine


def stage_norms(level: nn.Module) -> dict[str, Tensor]:
    """Norm of the gradient with respect to the weights of each stage of a level's network: where it vanishes.

    Args:
        level: a `UNet`: ``encoder1`` is its finest block, ``decoder1`` its deepest, with the up-sampling before it;
            then ``bottom`` and ``head``. Of other networks the stages are their children.

    Returns:
        Scalars, in the order of the weights; a stage without gradient has norm 0.
    """
    gradients: dict[str, list[Tensor]] = defaultdict(list)
    for name, weights in level.named_parameters():
        gradients[stage_of(name)].append(weights.new_zeros(()) if weights.grad is None else weights.grad)
    return {stage: get_total_norm(of_stage) for stage, of_stage in gradients.items()}


def stage_of(parameter: str) -> str:
    """The stage that a level's parameter belongs to, by its name in the level."""
    found = re.match(r"(encoder|decoder|up)\.(\d+)\.", parameter)
    if found is None:
        return parameter.split(".")[0]
    kind = "encoder" if found[1] == "encoder" else "decoder"
    return f"{kind}{int(found[2]) + 1}"


class CascadeModule(LightningModule):
    """Trains a network with a loss at every level.

    Args:
        header: what the checkpoint says beside the weights; it holds the network's arguments and the class table.
        loss: which loss, with which weights.
        optim: the optimiser.
        class_weights: ``(C,)`` of the cross-entropy; None: all 1.
        layout: of weights, and so of activations: `rcm_cascade.runs.trainer.memory_format`.

    Attributes:
        learn: what computes the network's outputs in training steps, such as `compiled_forward`; None: itself.
    """

    def __init__(
        self,
        header: CheckpointHeader,
        loss: LossArguments,
        optim: OptimArguments,
        class_weights: Tensor | None = None,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.header, self.loss_arguments, self.optim = header, loss, optim
        self.learn: Callable[[Tensor], list[Tensor]] | None = None
        self.layout = layout
        self.network = header.model.build().to(memory_format=layout)  # type: ignore[call-overload]
        self.level_weights = loss.of_network(header.model)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.class_weights: Tensor | None
        self.confusion = ConfusionMatrix(len(header.classes))
        self.validation_loss = MeanMetric(nan_strategy="ignore")  # NaN ends the training, see `StopAtNaN`
        # They stay on the device until the epoch ends: logging forty of them a step took a fifth of the step.
        self.gradient_norms: list[dict[str, Tensor]] = []

    def losses(self, outputs: list[Tensor], labels: Tensor, across: Sum = alone) -> list[Tensor]:
        """The unweighted loss of every output, coarse to fine; ``across`` as in `rcm_cascade.training.loss`."""
        factors = self.header.model.output_factors[-len(outputs) :]
        targets = label_pyramid(labels, factors, len(self.header.classes))
        return [
            level_loss(logits, target, self.loss_arguments, self.class_weights, across)
            for logits, target in zip(outputs, targets, strict=True)
        ]

    def total(self, losses: list[Tensor]) -> Tensor:
        """The weighted sum of the outputs' losses; of a DynUNet in eval mode, which has one output, that one's."""
        weights = self.level_weights[-len(losses) :]
        weighted = torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()
        return weighted / (sum(weights) if len(weights) < len(self.level_weights) else 1.0)

    def on_train_epoch_start(self) -> None:
        """Holds batch norms still, where that is asked for: Lightning has just set the network to training."""
        if self.optim.freeze_norm:
            for part in self.network.modules():
                if isinstance(part, nn.BatchNorm2d | nn.SyncBatchNorm):
                    part.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of the levels' losses."""
        losses = self.losses((self.learn or self.network)(batch["image"]), batch["labels"], all_reduce)
        total = self.total(losses)
        # Every step weighs the same, so that all processes find one mean: the losses are already of all their batches.
        self.log("train/loss", total, prog_bar=True, on_step=False, on_epoch=True, batch_size=1)
        for i, loss in enumerate(losses, start=1):
            self.log(f"train/loss_level{i}", loss, on_step=False, on_epoch=True, batch_size=1)
        batches, together = int(self.trainer.num_training_batches), self.trainer.accumulate_grad_batches
        return total * (together / batches_of_step(batch_idx, batches, together))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Sets the learning rate of a step from the run's progress, which may be measured in time."""
        if batch_idx % self.trainer.accumulate_grad_batches:
            return
        timer = next((c for c in self.trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]
        remaining, elapsed = (timer.time_remaining(), timer.time_elapsed()) if timer else (None, 0.0)
        max_time = None if remaining is None else elapsed + max(remaining, 0.0)
        done = progress(self.global_step, self.trainer.estimated_stepping_batches, elapsed, max_time)
        if timer and self.trainer.world_size > 1:  # each process has a clock of its own, and all need one learning rate
            done = float(broadcast(torch.tensor(done, dtype=torch.float64, device=self.device)))  # waits for the device
        factor = warmup_cosine(done, self.optim.warmup, self.optim.final_lr)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.optim.lr * factor

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Notes each level's gradient norm and its stages', and then clips the gradient.

        Error injection should keep the norms alive. The whole gradient is clipped; of levels that are trained apart,
        each one's.
        """
        norms: dict[str, Tensor] = {}
        for i, level in enumerate(self.network.levels, start=1):
            stages = stage_norms(level)
            norms[f"level{i}"] = torch.linalg.vector_norm(torch.stack(list(stages.values())))
            norms |= {f"level{i}_{stage}": norm for stage, norm in stages.items()}
        self.gradient_norms.append(norms)
        if self.optim.clip_norm:
            for part in self.network.levels if self.header.model.trained_apart else [self.network]:
                torch.nn.utils.clip_grad_norm_(part.parameters(), self.optim.clip_norm, foreach=True)

    def on_train_epoch_end(self) -> None:
        """Logs the rate that the epoch ended with, and the epoch's mean gradient norms."""
        steps, self.gradient_norms = self.gradient_norms, []
        for name in steps[0] if steps else ():
            self.log(f"train/grad_norm_{name}", sum(norms[name] for norms in steps) / len(steps))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        """Validates what is saved: without synchronised batch norms each process has its own means and variances."""
        for buffer in self.network.buffers():
            broadcast(buffer)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Adds a batch of fixed regions to the epoch's confusion matrix.

        Returns:
            ``prediction``: class ids ``(B, H, W)`` uint8, for dashboards; ``loss``.
        """
        outputs = self.network(batch["image"])
        total = self.total(self.losses(outputs, batch["labels"]))
        real = int((batch["labels"] != UNLABELLED).flatten(1).any(dim=1).sum())  # blank ones fill up a process's share
        self.validation_loss.update(total, real)
        prediction = self.network.final(outputs).argmax(dim=1)
        self.confusion.update(prediction, batch["labels"])
        return {"loss": total, "prediction": prediction.to(torch.uint8)}

    def on_validation_epoch_end(self) -> None:
        """Logs every metric over the regions, its mean and by class; undefined ones are left out."""
        matrix = self.confusion.counts()
        self.confusion.reset()
        self.log("val/loss", self.validation_loss.compute())
        self.validation_loss.reset()
        for name, metric in METRICS.items():
            of_class = metric.of_classes(matrix)
            self.log(f"val/mean_{name}", float(macro_mean(of_class, matrix)), prog_bar=name == "sensitivity")
            for class_name, value in zip(self.header.classes.names, of_class, strict=True):
                if value == value:
                    self.log(f"val/{name}_{class_name}", float(value))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; only weights of convolutions decay."""
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.optim.lr, fused=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the header."""
        checkpoint[HEADER] = self.header.to_plain()
