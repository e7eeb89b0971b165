"""Results of mosaics as `evaluate` counts them."""

import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.evaluate.results import MosaicResult, score_mosaic


@pytest.fixture(scope="session")
def results() -> list[MosaicResult]:
    """Seven mosaics of six patients; "meshwork" has labels in the first two alone."""
    made = []
    for i in range(7):
        rng = np.random.default_rng(i)
        truth = np.kron(rng.integers(0, 6, (8, 10)), np.ones((5, 5), np.int64)).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 6, truth.shape)).astype(np.uint8)
        truth[rng.random(truth.shape) < 0.4] = 255
        if i > 1:
            truth[truth == 2] = 255
        made.append(
            score_mosaic(
                prediction,
                truth,
                mosaic=f"mosaics/{i}.tif",
                patient=f"p{min(i, 5)}",
                site="lab" if i else "",
                pixel_size_um=50.0,
                classes=RCM_CLASSES,
            )
        )
    assert all(0 < r.confusion.trace() < r.confusion.sum() for r in made)
    return made
