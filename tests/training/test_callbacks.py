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
