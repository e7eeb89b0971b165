import numpy as np

from experiments.phantom.cascade import confusion_list, overrides
from experiments.phantom.confusions import Compared, Confusion, Place
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.runs.compose import compose_config


def test_the_configuration_is_the_one_that_the_table_is_of() -> None:
    config = compose_config(overrides(20, 80))
    assert (config.model.base_filters, config.model.levels, config.data.working_pixel_size_um) == (12, 3, 8)
    assert config.trainer.max_time == "00:00:20:00"
    phantom = config.data.phantom
    assert (phantom.mosaics, phantom.size_mm, phantom.pixel_size_um) == (80, (6, 6), 8)
    assert (phantom.patients, phantom.sites, phantom.seed) == (None, 3, 11)
    trial = compose_config(overrides(0.4, 10))
    assert trial.trainer.max_time == "00:00:00:24"
    assert trial.run != config.run == "phantom-cascade"


def test_confusions_are_listed_with_their_places() -> None:
    empty = np.zeros((2, 2), np.uint8)
    mosaics = [Compared(f"mosaics/p-{i}.tif", empty, empty, empty, 8.0) for i in range(2)]
    confusions = [Confusion(2, 3, 12, 0.12, (Place(1, 7, 5, 9), Place(0, 1, 2, 3)))]
    assert confusion_list(confusions, mosaics, RCM_CLASSES) == (
        "- meshwork taken for ring: 12 % of the meshwork pixels; see p-1 (7, 5), p-0 (1, 2)"
    )
