from dataclasses import replace

import numpy as np
import pytest

from experiments.phantom.likenesses import NESTED, RING, WORDS, likeness
from rcm_cascade.phantom.generate import Phantom, generate


@pytest.fixture(scope="module")
def drawn() -> dict[str, Phantom]:
    """At a quarter of the area and 16 µm."""
    return {
        letter: generate(replace(likeness(letter), size_um=(3000.0, 3000.0), pixel_size_um=16.0)) for letter in WORDS
    }


def test_a_has_rings_and_loses_contact_at_the_bottom(drawn: dict[str, Phantom]) -> None:
    truth = drawn["A"].truth
    lesion = truth[truth > 1]
    assert (lesion == RING).mean() > 0.6
    bottom = len(truth) * 4 // 5
    assert (truth[bottom:] == 1).mean() > 3 * (truth[:bottom] == 1).mean()


def test_b_has_dark_furrows_that_run_down(drawn: dict[str, Phantom]) -> None:
    dark = (drawn["B"].image < 12).astype(float)
    down, across = (np.abs(np.diff(dark, axis=axis)).mean() for axis in (0, 1))
    assert across > 1.3 * down


def test_c_is_brighter_in_bands_and_d_is_full_of_clods(drawn: dict[str, Phantom]) -> None:
    assert (drawn["D"].truth == NESTED).mean() > 0.5
    assert np.percentile(drawn["C"].image, 95) > 1.8 * np.median(drawn["C"].image)
