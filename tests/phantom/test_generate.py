from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.phantom.generate import Phantom, generate
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe


def recipe(index: int, size_um: float, pixel_size_um: float = 8.0, seed: int = 0) -> Recipe:
    patient = make_patient(seed, index, 1)
    return make_recipe(seed=seed, index=index, size_um=(size_um, size_um), pixel_size_um=pixel_size_um, patient=patient)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [generate(recipe(index, 3000)) for index in range(12)]


def test_a_set_holds_every_class_in_reasonable_shares(phantoms: list[Phantom]) -> None:
    labels = np.stack([phantom.labels for phantom in phantoms])
    counts = np.bincount(labels[labels != UNLABELLED], minlength=6)
    shares = counts / counts.sum()
    assert all(shares[2:6] >= 0.05)
    assert 0.03 <= shares[0] <= 0.45
    assert 0.01 <= shares[1] <= 0.25


def test_most_mosaics_hold_several_classes(phantoms: list[Phantom]) -> None:
    present = [np.count_nonzero(np.bincount(phantom.truth.reshape(-1)) > 100) for phantom in phantoms]
    assert np.median(present) >= 4


def test_experts_label_the_share_they_are_known_for(phantoms: list[Phantom]) -> None:
    shares = np.array([(phantom.labels != UNLABELLED).mean() for phantom in phantoms])
    assert 0.5 <= shares.mean() <= 0.66
    assert shares.max() - shares.min() > 0.1


def test_lesions_and_artifacts_cover_the_measured_area(phantoms: list[Phantom]) -> None:
    lesion = np.array([(phantom.truth != 0).mean() for phantom in phantoms])
    artifact = np.array([(phantom.truth == 1).mean() for phantom in phantoms])
    assert 0.6 <= lesion.mean() <= 0.88
    assert 0.04 <= artifact.mean() <= 0.14
    assert np.median(artifact) < artifact.mean()  # heavy-tailed


def test_labels_agree_with_the_truth_but_for_small_artifacts_and_smooth_borders(phantoms: list[Phantom]) -> None:
    labels = np.stack([phantom.labels for phantom in phantoms])
    truth = np.stack([phantom.truth for phantom in phantoms])
    labelled = labels != UNLABELLED
    agreement = (labels == truth)[labelled].mean()
    assert 0.96 <= agreement < 1


def test_grey_level_names_no_pattern(phantoms: list[Phantom]) -> None:
    image = np.stack([phantom.image for phantom in phantoms])
    truth = np.stack([phantom.truth for phantom in phantoms])
    middles = {class_id: np.percentile(image[truth == class_id], (10, 50, 90)) for class_id in (0, 2, 3, 4, 5)}
    for low, _, high in middles.values():
        assert all(low < middle < high for _, middle, _ in middles.values())
    assert all(20 < middle < 120 for _, middle, _ in middles.values())


def test_where_a_lesion_ends_a_margin_is_left_open() -> None:
    one = replace(recipe(1, 3000), lesion_share=0.5, no_contact_share=0.005, labelled_share=0.85)
    phantom = generate(one)
    inside = phantom.truth > 1
    border = np.zeros_like(inside)
    border[:, 1:] = inside[:, 1:] & (phantom.truth[:, :-1] == 0)
    assert border.sum() > 50
    assert (phantom.labels[border] == UNLABELLED).mean() > 0.9


def test_the_same_recipe_gives_the_same_bytes() -> None:
    first, second = (generate(recipe(2, 1000, seed=0)) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.image.std() > 10


@pytest.mark.parametrize(("fine", "coarse"), [(1.0, 4.0), (2.0, 8.0), (4.0, 16.0)])
def test_a_phantom_is_the_same_skin_at_any_pixel_size(fine: float, coarse: float) -> None:
    sharp, blurred = generate(recipe(3, 1600, fine)), generate(recipe(3, 1600, coarse))
    # 16 µm: speckle is drawn anew at each pixel size
    views = [
        phantom.image.reshape(100, len(phantom.image) // 100, 100, -1).mean((1, 3)).reshape(-1)
        for phantom in (sharp, blurred)
    ]
    assert np.corrcoef(views)[0, 1] > 0.95
    assert (sharp.truth[2::4, 2::4] == blurred.truth).mean() > 0.97


@pytest.mark.parametrize("size_um", [8.0, 100.0, 500.0, 700.0])
@pytest.mark.parametrize("pixel_size_um", [0.5, 3.3, 20.0])
def test_any_size_can_be_drawn(size_um: float, pixel_size_um: float) -> None:
    one = recipe(0, size_um, pixel_size_um)
    phantom = generate(one)
    assert phantom.image.shape == phantom.truth.shape == phantom.labels.shape == one.shape
    assert phantom.truth.max() < 6
