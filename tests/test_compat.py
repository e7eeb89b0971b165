"""What breaks when a library renames one of the names in `rcm_cascade.compat`."""

from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

from rcm_cascade.compat import set_average


def test_lightning_validates_the_average_that_it_is_given() -> None:
    """Else `optim.ema` validates and saves the weights of the last step."""
    module, callback = LightningModule(), WeightAveraging()
    module.layer = nn.Linear(1, 1, bias=False)
    average = AveragedModel(module)
    average.module.layer.weight.data.fill_(7.0)  # type: ignore[union-attr, operator]
    set_average(callback, average)
    callback.on_validation_epoch_start(None, module)  # type: ignore[arg-type]
    assert float(module.layer.weight.detach()) == 7.0
