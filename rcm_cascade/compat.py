"""Names that the libraries keep to themselves and for which they have no public one; `tests/test_compat.py` says which.

Each is here alone, so that a new version of a library breaks one file, and one test says what.
"""

from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import AveragedModel


def set_average(callback: WeightAveraging, average: AveragedModel) -> None:
    """Makes a model the average that Lightning's callback updates, validates and saves; it can only make its own."""
    callback._average_model = average
