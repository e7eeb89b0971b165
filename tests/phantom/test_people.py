import numpy as np
import pytest

from rcm_cascade.phantom.people import make_patient, make_site


def test_a_person_is_the_same_in_every_mosaic_and_differs_from_others() -> None:
    assert make_patient(0, 4, 2) == make_patient(0, 4, 2)
    others = [make_patient(0, index, 2) for index in range(30)] + [make_patient(1, 0, 2)]
    assert len({(person.gain, person.wrinkle_direction) for person in others}) == 31
    assert np.std([person.scale for person in others]) > 0.05
    for name in ("wrinkle_density", "follicles", "openings", "hairs"):
        values = [getattr(person, name) for person in others]
        assert max(values) > 3 * min(values), name


def test_most_skin_has_few_follicles_and_hairs_and_some_has_many() -> None:
    people = [make_patient(0, index, 1) for index in range(300)]
    follicles = np.array([person.follicles for person in people])
    assert (follicles < 0.15).mean() > 0.15
    assert (follicles > 1.0).mean() > 0.06
    assert follicles.max() <= 2
    assert np.mean([person.ducts for person in people]) == pytest.approx(1.28, abs=0.15)
    assert np.median([person.hairs for person in people]) * 36 < 0.5


def test_patients_are_dealt_out_to_the_sites() -> None:
    sites = [make_patient(0, index, 3).site for index in range(6)]
    assert [site.name for site in sites] == ["s0", "s1", "s2", "s0", "s1", "s2"]
    assert sites[0] == sites[3] == make_site(0, 0)
    assert len({site.gain for site in sites}) == 3
