import numpy as np
import pytest
import torch
from kornia.geometry.transform import warp_affine

from rcm_cascade.data.augment import Augmentation, _linear, centre_crop, warp

NOTHING = Augmentation(rotation=0, flip=0, shear=0, intensity_shift=0)


def squares(side: int, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 6, (count, side, side), dtype=torch.uint8, generator=generator)
    labels[:, :3] = 255
    return image, labels


def maps(*linear: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(linear).astype(np.float32))


@pytest.mark.parametrize("patch", [16, 17])
def test_nothing_switched_on_changes_nothing(patch: int) -> None:
    image, labels = squares(patch)
    linear, shift = NOTHING.draw(np.random.default_rng(0))
    assert NOTHING.read_side(patch) == patch
    grey, warped = warp(image, labels, maps(linear, linear), torch.full((2,), shift), patch)
    assert torch.allclose(grey, image.float(), atol=1e-3)
    assert torch.equal(warped, labels)


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        (_linear(0, 0, 0, True, False), lambda x: x.flip(-1)),
        (_linear(0, 0, 0, False, True), lambda x: x.flip(-2)),
        (_linear(90, 0, 0, False, False), lambda x: torch.rot90(x, 1, (-2, -1))),
        (_linear(180, 0, 0, False, False), lambda x: torch.rot90(x, 2, (-2, -1))),
    ],
)
def test_flips_and_quarter_turns_move_image_and_labels_alike(linear: np.ndarray, expected: object) -> None:
    image, labels = squares(20)
    grey, warped = warp(image, labels, maps(linear, linear), torch.zeros(2), 16)
    assert torch.allclose(grey, expected(centre_crop(image, 16)).float(), atol=1e-2)  # type: ignore[operator]
    assert torch.equal(warped, expected(centre_crop(labels, 16)))  # type: ignore[operator]


def test_it_is_the_warp_that_kornia_makes_of_the_inverse_map() -> None:
    image, labels = squares(40, count=20)
    rng = np.random.default_rng(5)
    linear = maps(*(Augmentation().draw(rng)[0] for _ in range(20)))
    matrix = torch.zeros(20, 2, 3)
    matrix[:, :, :2] = torch.linalg.inv(linear)
    matrix[:, :, 2] = 23 / 2 - matrix[:, :, :2].sum(dim=2) * 39 / 2
    code = torch.where(labels == 255, 0.0, labels.float() + 1)
    grey, warped = warp(image, labels, linear, torch.zeros(20), 24)

    kornias = warp_affine(
        image.float()[:, None], matrix, (24, 24), mode="bicubic", padding_mode="border", align_corners=True
    )
    assert (grey - kornias[:, 0]).abs().max() < 0.02
    kornias = warp_affine(code[:, None], matrix, (24, 24), mode="nearest", padding_mode="zeros", align_corners=True)
    expected = torch.where(kornias[:, 0] == 0, 255.0, kornias[:, 0] - 1).to(torch.uint8)
    assert (warped != expected).float().mean() < 1e-3, "only where two pixels are equally near"
    assert (expected == 255).any()
    assert set(np.unique(expected).tolist()) == {*range(6), 255}


def test_the_square_read_holds_every_patch_that_can_be_drawn() -> None:
    """Whatever is drawn, no pixel of the patch comes from beyond the square: labels never turn unlabelled."""
    augmentation = Augmentation()
    side = augmentation.read_side(32)
    assert (side - 32) % 2 == 0
    rng = np.random.default_rng(0)
    linear = maps(*(augmentation.draw(rng)[0] for _ in range(300)))
    labels = torch.full((300, side, side), 3, dtype=torch.uint8)
    _, warped = warp(torch.zeros_like(labels), labels, linear, torch.zeros(300), 32)
    assert (warped == 3).all()
    _, cut = warp(torch.zeros_like(labels)[:, 6:-6, 6:-6], labels[:, 6:-6, 6:-6], linear, torch.zeros(300), 32)
    assert (cut == 255).any(), "a smaller square must show; otherwise this test proves nothing"


def test_what_the_warp_fills_in_is_unlabelled_and_never_a_class() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    _, warped = warp(torch.zeros_like(labels), labels, maps(_linear(45, 0, 0, False, False)), torch.zeros(1), 32)
    assert warped[0, 0, 0] == 255
    assert set(np.unique(warped).tolist()) == {0, 255}


def test_labels_are_never_mixed() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, :, 32:] = 4
    _, warped = warp(torch.zeros_like(labels), labels, maps(_linear(33, 5, -7, True, False)), torch.zeros(1), 32)
    assert set(np.unique(warped).tolist()) == {0, 4}


def test_the_shift_is_added_and_wipes_nothing_out() -> None:
    image = torch.tensor([[[0, 100], [200, 250]]], dtype=torch.uint8)
    grey, _ = warp(image, torch.zeros_like(image), maps(np.eye(2)), torch.tensor([20.0]), 2)
    assert torch.allclose(grey, torch.tensor([[[20.0, 120.0], [220.0, 270.0]]]), atol=1e-3)


def test_a_batch_of_any_size_gives_each_sample_the_same() -> None:
    image, labels = squares(32, count=5)
    rng = np.random.default_rng(1)
    drawn = [Augmentation().draw(rng) for _ in range(5)]
    linear, shift = maps(*(d[0] for d in drawn)), torch.tensor([d[1] for d in drawn])
    whole = warp(image, labels, linear, shift, 16)
    for i in range(5):
        one = warp(image[i : i + 1], labels[i : i + 1], linear[i : i + 1], shift[i : i + 1], 16)
        assert torch.equal(one[0][0], whole[0][i])
        assert torch.equal(one[1][0], whole[1][i])


def test_switching_one_change_off_leaves_the_others() -> None:
    with_shift = Augmentation().draw(np.random.default_rng(3))
    without = Augmentation(intensity_shift=0).draw(np.random.default_rng(3))
    assert np.array_equal(with_shift[0], without[0])
    assert with_shift[1] != 0
    assert without[1] == 0


def test_parameters_stay_in_their_ranges_and_fill_them() -> None:
    rng = np.random.default_rng(0)
    shifts = np.array([Augmentation().draw(rng)[1] for _ in range(1000)])
    assert 24 < shifts.max() <= 25.5
    assert -25.5 <= shifts.min() < -24


@pytest.mark.parametrize("wrong", [{"rotation": 181}, {"flip": 1.1}, {"shear": -1}, {"intensity_shift": 2}])
def test_impossible_ranges_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Augmentation(**wrong)
