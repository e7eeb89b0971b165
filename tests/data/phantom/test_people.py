import numpy as np

from rcm_cascade.data.phantom.people import make_patient, make_site


def test_a_person_is_the_same_in_every_mosaic_and_differs_from_others() -> None:
    assert make_patient(0, 4, 2) == make_patient(0, 4, 2)
    others = [make_patient(0, index, 2) for index in range(30)] + [make_patient(1, 0, 2)]
    assert len({(person.gain, person.wrinkle_direction) for person in others}) == 31
    assert np.std([person.scale for person in others]) > 0.05
    assert max(person.wrinkle_density for person in others) > 3 * min(person.wrinkle_density for person in others)


def test_patients_are_dealt_out_to_the_sites() -> None:
    sites = [make_patient(0, index, 3).site for index in range(6)]
    assert [site.name for site in sites] == ["s0", "s1", "s2", "s0", "s1", "s2"]
    assert sites[0] == sites[3] == make_site(0, 0)
    assert len({site.gain for site in sites}) == 3
