import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from rcm_cascade.training.callbacks import MovingAverage


def test_the_average_forgets_a_short_runs_beginning_and_averages_buffers() -> None:
    module, callback = LightningModule(), MovingAverage(0.999)
    module.network = network = torch.nn.BatchNorm1d(2)
    callback.setup(Trainer(logger=False), module, "fit")
    averaged = callback._average_model
    assert averaged is not None
    assert network.running_mean is not None
    assert network.num_batches_tracked is not None
    expected = 1.0
    for step in range(1, 31):
        with torch.no_grad():
            network.weight.fill_(float(step))
            network.running_mean.fill_(float(step))
            network.num_batches_tracked.fill_(step)
        averaged.update_parameters(module)
        decay = min(0.999, step / (9 + step))
        expected = decay * expected + (1 - decay) * step if step > 1 else 1.0
    state = averaged.module.state_dict()
    assert float(state["network.weight"][0]) == pytest.approx(expected)
    assert 20 < expected < 30
    assert torch.equal(state["network.weight"], state["network.running_mean"])
    assert int(state["network.num_batches_tracked"]) == 30


def test_the_average_lies_where_the_module_is_going_to_be_and_its_count_here(monkeypatch: pytest.MonkeyPatch) -> None:
    module, callback, trainer = LightningModule(), MovingAverage(0.9), Trainer(logger=False)
    module.network = torch.nn.BatchNorm1d(2)
    monkeypatch.setattr(type(trainer.strategy), "root_device", torch.device("meta"))
    callback.setup(trainer, module, "fit")
    averaged = callback._average_model
    assert averaged is not None
    assert {tensor.device.type for tensor in averaged.module.state_dict().values()} == {"meta"}
    assert averaged.n_averaged.device.type == "cpu"  # a GPU would be waited for each step

    averaged.update_parameters(averaged.module)  # reads no value: "meta" has none

    assert int(averaged.n_averaged) == 1
