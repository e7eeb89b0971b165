import torch
from torch.optim.swa_utils import AveragedModel

from rcm_cascade.training.callbacks import MovingAverage


def test_the_average_forgets_a_short_runs_beginning_and_averages_buffers() -> None:
    network = torch.nn.BatchNorm1d(2)
    averaged = AveragedModel(network, use_buffers=True, **MovingAverage(0.999)._kwargs)
    for step in range(1, 31):
        with torch.no_grad():
            network.weight.fill_(float(step))
            assert network.running_mean is not None
            network.running_mean.fill_(float(step))
        averaged.update_parameters(network)
    state = averaged.module.state_dict()
    assert 20 < float(state["weight"][0]) < 30
    assert torch.equal(state["weight"], state["running_mean"])
