import numpy as np
import pytest

from rcm_cascade.data.phantom.people import make_patient
from rcm_cascade.data.phantom.recipe import Recipe, make_recipe


def recipes(seed: int, count: int) -> list[Recipe]:
    return [
        make_recipe(seed=seed, index=index, size_um=(6000, 5000), pixel_size_um=8, patient=make_patient(seed, index, 1))
        for index in range(count)
    ]


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_dozen_mosaics_already_have_the_measured_means(seed: int) -> None:
    drawn = recipes(seed, 12)
    assert np.mean([one.lesion_share for one in drawn]) == pytest.approx(0.74, abs=0.08)
    assert np.mean([one.labelled_share for one in drawn]) == pytest.approx(0.58, abs=0.05)
    assert {int(np.argmax(one.pattern_bias)) for one in drawn} == {0, 1, 2, 3}


def test_the_artifact_share_is_heavy_tailed() -> None:
    shares = np.array([one.no_contact_share for one in recipes(0, 200)])
    assert shares.mean() == pytest.approx(0.07, abs=0.015)
    assert 0.7 < (shares < 0.1).mean() < 0.9
    assert 0.02 < (shares > 0.25).mean() < 0.12


def test_a_mosaic_depends_on_seed_and_index_alone() -> None:
    assert recipes(0, 5)[4] == recipes(0, 9)[4]
    assert recipes(0, 1)[0].lesion_share != recipes(1, 1)[0].lesion_share
    first, second = (one.stream().random(4) for one in recipes(0, 2))
    assert not np.array_equal(first, second)


def test_shape_and_name() -> None:
    one = recipes(0, 3)[2]
    assert one.shape == (750, 625)
    assert one.name == "phantom-0-002"
