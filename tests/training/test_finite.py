"""A training whose numbers are none any more stops, and leaves nothing of them."""

import re
from pathlib import Path

import pytest
import torch

from rcm_cascade.cli import main
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import load_checkpoint
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import load_training_data
from rcm_cascade.runs.train import train
from rcm_cascade.runs.trainer import make_datamodule, make_header
from rcm_cascade.training import finite
from rcm_cascade.training.module import CascadeModule
from tests.running import tiny

HUGE = "optim.lr=1e38"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([], "the loss in epoch 1, batch 2,"),
        (["trainer.steps_per_epoch=1"], "the validation loss in epoch 1, batch 1,"),  # finite weights, huge
        (["model=ensemble", "data.sampling=balanced", "trainer.accumulate=2"], "the validation loss in epoch 1, batch"),
    ],
)
def test_a_loss_that_is_no_number_stops_the_command_and_leaves_no_checkpoint(
    more: list[str],
    what: str,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *tiny(phantoms, HUGE, "run=x", *more)]) == 2
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert f"error: {what}" in sentence
    assert "lower optim.lr (it is 1e+38), or train with trainer.precision=fp32" in sentence
    config = compose_config(tiny(phantoms, *more))
    loaded = load_training_data(config.data)
    datamodule = make_datamodule(config, loaded, make_header(config, loaded))
    batches = [batch["place"].tolist() for batch, _ in zip(datamodule.train_dataloader(), range(2), strict=False)]
    names = [mosaic.name for mosaic in datamodule.patches.mosaics]
    drawn = [f"{names[m]} ({top}, {left})" for batch in batches for m, top, left in batch]
    found = re.findall(r"mosaics/[^ ]* \(\d+, \d+\)", sentence)
    assert found
    assert found == drawn[: len(found)][::-1]
    assert not list((tmp_path / "runs" / "x").rglob("*.ckpt"))


def test_a_good_epoch_stays_and_the_same_command_goes_on_from_it(phantoms: Path, tmp_path: Path) -> None:
    config = compose_config(tiny(phantoms, HUGE, "trainer.max_epochs=3", "trainer.steps_per_epoch=1"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(InputError, match="the loss in epoch 2, batch 1, is not a finite number"):
        train(config, tmp_path)
    before = last.read_bytes()
    assert torch.load(last, weights_only=True)["epoch"] == 0
    with pytest.raises(InputError, match="the loss in epoch 2, batch 1, is not a finite number"):
        train(config, tmp_path)
    assert last.read_bytes() == before
    load_checkpoint(last)
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


def test_a_weight_that_is_no_number_is_found_where_no_loss_has_shown_it(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(module: CascadeModule, *_: object) -> None:
        module.network.get_parameter("levels.0.head.bias").data[0] = torch.inf

    monkeypatch.setattr(CascadeModule, "on_before_optimizer_step", spoil)
    with pytest.raises(InputError, match=r"the tensor levels\.0\.head\.bias in epoch 1, batch 1, is not a finite"):
        train(compose_config(tiny(phantoms, "trainer.steps_per_epoch=1")), tmp_path)


def test_losses_are_read_now_and_then_within_an_epoch(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "EVERY", 4)
    monkeypatch.setattr(finite, "NAMED", 3)
    steps, learn = [], CascadeModule.training_step

    def step(module: CascadeModule, batch: object, index: int) -> torch.Tensor:
        steps.append(index)
        return learn(module, batch, index) * (torch.nan if index == 5 else 1)  # type: ignore[arg-type]

    monkeypatch.setattr(CascadeModule, "training_step", step)
    config = compose_config(tiny(phantoms, "trainer.steps_per_epoch=11"))
    with pytest.raises(InputError, match=r"the loss in epoch 1, batch 6, .*\)(, [^,]+ \(\d+, \d+\)){2} and 1 more$"):
        train(config, tmp_path)
    assert steps == list(range(8))
