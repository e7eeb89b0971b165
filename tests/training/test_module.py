"""What training does to each design."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.models import UNet
from rcm_cascade.models.cascade import area_average
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.models.registry import read_arguments
from rcm_cascade.runs.trainer import quiet
from rcm_cascade.training.loss import LossArguments, label_pyramid, level_loss
from rcm_cascade.training.module import CascadeModule, OptimArguments, batches_of_step

CLASSES = ClassTable((LabelClass(0, "a", "#ff0000"), LabelClass(1, "b", "#00ff00")))


def module(loss: LossArguments | None = None, clip_norm: float = 0.0, **arguments: Any) -> CascadeModule:
    torch.manual_seed(0)
    model = read_arguments({"design": "cascade", "num_classes": 2, "base_filters": 2, **arguments})
    optim = OptimArguments(clip_norm=clip_norm)
    return CascadeModule(CheckpointHeader(model, CLASSES, 1.0), loss or LossArguments(), optim)


def batch(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (2, 4, 4), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    image = labels[:, None] + 0.3 * torch.randn(2, 1, 32, 32, generator=generator)
    return image, labels.to(torch.uint8)


def gradient(level: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in level.parameters() if p.grad is not None])


def test_independent_levels_learn_as_if_each_were_trained_alone() -> None:
    trained, (image, labels) = module(design="ensemble", clip_norm=0.05), batch()
    trained.total(trained.losses(trained.network(image), labels)).backward()  # type: ignore[no-untyped-call]
    trained.on_before_optimizer_step(torch.optim.SGD(trained.parameters(), 0.1))
    pyramid = label_pyramid(labels, (4, 2, 1), 2)

    for index, factor in enumerate((4, 2, 1)):
        alone = module(design="ensemble").network.levels[index]
        assert isinstance(alone, UNet)
        level_loss(alone(area_average(image, factor)), pyramid[index], LossArguments()).backward()  # type: ignore[no-untyped-call]
        assert gradient(alone).norm() > 0.05
        torch.nn.utils.clip_grad_norm_(alone.parameters(), 0.05)
        torch.testing.assert_close(gradient(trained.network.levels[index]), gradient(alone))


def test_without_injection_the_coarse_heads_learn_through_the_prior_alone() -> None:
    trained, (image, labels) = module(LossArguments(level_weights="last")), batch()
    trained.total(trained.losses(trained.network(image), labels)).backward()  # type: ignore[no-untyped-call]
    assert gradient(trained.network.levels[0]).norm() > 0

    detached = module(LossArguments(level_weights="last"), detach_prior=True)
    detached.total(detached.losses(detached.network(image), labels)).backward()  # type: ignore[no-untyped-call]
    assert not gradient(detached.network.levels[0]).any()


def test_a_dynunet_has_a_loss_at_each_supervised_resolution() -> None:
    pytest.importorskip("monai")
    trained, (image, labels) = (
        module(LossArguments(level_weights="fine"), design="dynunet", base_depth=3),
        batch(),
    )
    assert trained.level_weights == pytest.approx((1 / 7, 2 / 7, 4 / 7))

    losses = trained.train().losses(trained.network(image), labels)
    assert len(losses) == 3
    trained.total(losses).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.any() for p in trained.network.parameters() if p.ndim > 1)

    (loss,) = trained.eval().losses(trained.network(image), labels)
    assert trained.total([loss]).item() == pytest.approx(loss.item())


def test_the_whole_gradient_of_a_cascade_is_clipped_as_one() -> None:
    trained, (image, labels) = module(clip_norm=0.5), batch()
    trained.total(trained.losses(trained.network(image), labels)).backward()  # type: ignore[no-untyped-call]
    trained.on_before_optimizer_step(torch.optim.SGD(trained.parameters(), 0.1))
    assert float(gradient(trained.network).norm()) == pytest.approx(0.5, rel=1e-4)


def test_the_last_step_of_an_epoch_has_the_batches_that_are_left() -> None:
    assert [batches_of_step(i, batches=6, together=4) for i in range(6)] == [4, 4, 4, 4, 2, 2]
    assert [batches_of_step(i, batches=3, together=1) for i in range(3)] == [1, 1, 1]


def test_batches_of_a_step_count_alike_in_a_short_step_too(tmp_path: Path) -> None:
    """Three batches, two a step: the weights after the epoch are those of steps of the mean loss of 2 and of 1."""
    data = [{"image": image, "labels": labels} for image, labels in (batch(seed) for seed in range(3))]
    trained, expected = module(), module()
    trained.validation_step = None  # type: ignore[assignment, method-assign]
    expected.load_state_dict(trained.state_dict())
    for m in (trained, expected):
        m.configure_optimizers = lambda m=m: torch.optim.SGD(m.parameters(), lr=0.1)  # type: ignore[method-assign, misc]
        m.on_train_batch_start = lambda *_: None  # type: ignore[method-assign]
    with quiet():
        trainer = Trainer(
            accelerator="cpu", limit_val_batches=0, max_epochs=1, accumulate_grad_batches=2, logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(trained, DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    optimiser = expected.configure_optimizers()
    expected.train()
    for step in (data[:2], data[2:]):
        optimiser.zero_grad()
        for one in step:
            loss = expected.total(expected.losses(expected.network(one["image"]), one["labels"])) / len(step)
            torch.autograd.backward(loss)
        optimiser.step()
    for key, value in expected.network.state_dict().items():
        assert torch.allclose(trained.network.state_dict()[key], value, atol=1e-6), key
