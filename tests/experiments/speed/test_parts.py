from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from experiments.speed import parts
from experiments.speed.parts import (
    WARMUP,
    Loading,
    ResidentBatch,
    StepClock,
    augmenting,
    epoch_steps,
    fitted,
    warm_up,
)
from rcm_cascade.data.datamodule import Batch, prepare
from rcm_cascade.runs.trainer import quiet
from tests.experiments.speed.factories import CPU, PATCH, small_datamodule, small_module

pytestmark = pytest.mark.usefixtures("one_thread")


def clocked(marks: Sequence[float], monkeypatch: pytest.MonkeyPatch, warmup: int = WARMUP) -> StepClock:
    """A clock that has seen steps begin and end at these seconds, in turn."""
    times, clock, module = iter(marks), StepClock(warmup), small_module()
    monkeypatch.setattr(parts, "_mark", lambda device: next(times))
    for i in range(len(marks) // 2):
        clock.on_train_batch_start(Trainer.__new__(Trainer), module, None, i)
        clock.on_train_batch_end(Trainer.__new__(Trainer), module, None, None, i)
    return clock


def test_a_pace_leaves_out_the_first_steps_and_tells_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [0.0, 100.0, 150.0, 200.0]
    pace = clocked([*slow, 201.0, 204.0, 206.0, 209.0], monkeypatch).pace()

    assert WARMUP == 2
    assert pace.step_s == pytest.approx(4.5)  # from 200 to 209, two steps
    assert pace.waiting == pytest.approx(3 / 9)


def test_nothing_but_warm_up_has_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="2 steps were taken; expected more than 2"):
        clocked([0.0, 1.0, 2.0, 3.0], monkeypatch).pace()


class Noted(Callback):
    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self.batches.append(batch)


@pytest.mark.parametrize("resident", [False, True])
def test_real_and_resident_batches_are_trained_on(resident: bool, tmp_path: Path) -> None:
    real, module, noted = small_datamodule(), small_module(), Noted()
    before = torch.cat([p.detach().flatten().clone() for p in module.network.parameters()])
    batch = prepare(real.example(4), PATCH)
    datamodule = ResidentBatch(real, batch) if resident else real

    def trainer(callbacks: Sequence[Callback]) -> Trainer:
        return Trainer(
            accelerator="cpu",
            max_steps=5,
            limit_val_batches=0,
            callbacks=[*callbacks, noted],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )

    with quiet():
        pace = fitted(trainer, module, datamodule)

    assert pace.step_s > 0
    assert 0 < pace.waiting < 1
    assert len(noted.batches) == 5
    same = [torch.equal(b["image"], noted.batches[0]["image"]) for b in noted.batches]
    assert all(same) if resident else sum(same) == 1
    if resident:
        assert torch.equal(noted.batches[4]["labels"], batch["labels"])
        assert real.coverage.share() == 0, "nothing of the pipeline has run"
    else:
        assert real.coverage.share() > 0
    after = torch.cat([p.detach().flatten() for p in module.network.parameters()])
    assert not torch.equal(before, after)


@pytest.mark.parametrize("augmented", [False, True])
def test_the_first_batches_of_an_epoch_are_loaded_and_no_more(augmented: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule, prepared = small_datamodule(), []
    monkeypatch.setattr(parts, "prepare", lambda batch, side: prepared.append((batch, side)))

    loading = Loading(datamodule, 3, CPU, augmented)
    batches = list(loading.loader)

    assert loading() > 0
    assert loading.patches == 12
    expected = iter(datamodule.train_dataloader())
    assert len(batches) == 3
    assert all(torch.equal(b["image"], next(expected)["image"]) for b in batches)
    assert [side for _, side in prepared] == ([PATCH] * 3 if augmented else [])
    assert all(torch.equal(p[0]["image"], b["image"]) for p, b in zip(prepared, batches, strict=False))


def test_an_epoch_s_last_batch_may_be_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule = small_datamodule(batch_size=5)
    assert len(datamodule.patches) % 5

    loading = Loading(datamodule, 1000, CPU, augmented=False)
    times = iter([10.0, 10.0 + len(datamodule.patches)])
    monkeypatch.setattr(parts, "stopwatch", lambda device: next(times))

    assert loading() == 1.0


def test_augmentation_is_timed_by_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, seen, times = small_datamodule().example(4), [], iter([1.0, 25.0])
    monkeypatch.setattr(parts, "prepare", lambda batch, side: seen.append((batch["image"].shape[0], side)))
    monkeypatch.setattr(parts, "stopwatch", lambda device: next(times))

    assert augmenting(raw, PATCH, 3)() == 2.0  # 24 s for 3 times 4 patches
    assert seen == [(4, PATCH)] * 3


def test_steps_are_an_epoch_s_without_the_first() -> None:
    datamodule = small_datamodule()
    assert datamodule.steps_per_epoch == 8
    assert epoch_steps(datamodule, 3) == 3
    assert epoch_steps(datamodule, 100) == 8 - WARMUP
    assert epoch_steps(small_datamodule(batch_size=100), 5) < 1


def test_steps_whose_batches_were_loaded_before_them_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warm_up(small_datamodule()) == WARMUP
    assert warm_up(small_datamodule(num_workers=2)) == WARMUP + 2 * 2  # PyTorch's processes load two batches ahead
    assert epoch_steps(small_datamodule(num_workers=2), 100) == 8 - WARMUP - 2 * 2

    slow = [float(mark) for mark in range(0, 600, 100)]
    pace = clocked([*slow, 501.0, 504.0, 506.0, 509.0], monkeypatch, warmup=3).pace()
    assert pace.step_s == pytest.approx(4.5)
