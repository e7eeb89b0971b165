from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe


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
    # what lies in contact adds some 4 %
    assert shares.mean() == pytest.approx(0.05, abs=0.01)
    assert 0.75 < (shares < 0.07).mean() < 0.85
    assert 0.06 < (shares > 0.21).mean() < 0.12


def test_dials_are_drawn_within_their_ranges_and_differ() -> None:
    drawn = recipes(0, 200)
    ranges = {
        "no_contact_share": (0, 0.4),
        "furrows": (0, 1.2),
        "banks": (0.3, 4),
        "bands": (0, 0.4),
        "motion": (0, 0.1),
        "reflections": (0, 1),
        "deformed_meshwork": (0, 1),
        "clod_size": (0, 1),
    }
    for name, (low, high) in ranges.items():
        values = np.array([getattr(one, name) for one in drawn])
        assert low <= values.min(), name
        assert values.max() <= high, name
        assert values.std() > 0.1 * (values.max() - values.min()), name
    assert np.mean([one.deformed_meshwork for one in drawn]) == pytest.approx(0.35, abs=0.03)
    assert np.mean([one.furrows == 0 for one in drawn]) > 0.6
    assert np.mean([one.motion == 0 for one in drawn]) > 0.6


def test_dials_do_not_go_up_and_down_together() -> None:
    drawn = recipes(3, 200)
    names = ("lesion_share", "no_contact_share", "labelled_share", "bands", "deformed_meshwork", "clod_size", "banks")
    table = np.array([[getattr(one, name) for name in names] for one in drawn])
    assert np.abs(np.corrcoef(table.T) - np.eye(len(names))).max() < 0.3


def test_the_deformed_share_can_be_given() -> None:
    drawn = [
        make_recipe(
            seed=0,
            index=2,
            size_um=(6000, 5000),
            pixel_size_um=8,
            patient=make_patient(0, 2, 1),
            deformed_meshwork=share,
        )
        for share in (None, 0.9)
    ]
    assert drawn[1].deformed_meshwork == 0.9
    assert replace(drawn[1], deformed_meshwork=drawn[0].deformed_meshwork) == drawn[0]


def test_a_mosaic_depends_on_seed_and_index_alone() -> None:
    assert recipes(0, 5)[4] == recipes(0, 9)[4]
    assert recipes(0, 1)[0].lesion_share != recipes(1, 1)[0].lesion_share
    first, second = (one.stream().random(4) for one in recipes(0, 2))
    assert not np.array_equal(first, second)


def test_shape_and_name() -> None:
    one = recipes(0, 3)[2]
    assert one.shape == (750, 625)
    assert one.name == "phantom-0-002"
