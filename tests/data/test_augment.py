from dataclasses import replace

import numpy as np
import pytest
import torch
from kornia.geometry.transform import warp_affine
from scipy import ndimage

from rcm_cascade.data.augment import CHANGES, Augmentation, ChangeRange, Parameters, _linear, augment, centre_crop, warp

NOTHING = Augmentation(rotation=0, flip=0, shear=0, intensity_shift=0)


def squares(side: int, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 6, (count, side, side), dtype=torch.uint8, generator=generator)
    labels[:, :3] = 255
    return image, labels


def batch(*drawn: Parameters) -> Parameters:
    return torch.utils.data.default_collate(list(drawn))  # type: ignore[no-any-return]


def maps(*linear: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(linear).astype(np.float32))


@pytest.mark.parametrize("patch", [16, 17])
def test_nothing_switched_on_changes_nothing(patch: int) -> None:
    image, labels = squares(patch)
    drawn = batch(*[NOTHING.draw(np.random.default_rng(0))] * 2)
    assert NOTHING.read_side(patch) == patch
    grey, warped = augment(image, labels, drawn, patch)
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
    grey, warped = warp(image, labels, maps(linear, linear), 16)
    assert torch.allclose(grey, expected(centre_crop(image, 16)).float(), atol=1e-2)  # type: ignore[operator]
    assert torch.equal(warped, expected(centre_crop(labels, 16)))  # type: ignore[operator]


def test_it_is_the_warp_that_kornia_makes_of_the_inverse_map() -> None:
    image, labels = squares(40, count=20)
    rng = np.random.default_rng(5)
    linear = maps(*(Augmentation().draw(rng)["linear"].numpy() for _ in range(20)))
    matrix = torch.zeros(20, 2, 3)
    matrix[:, :, :2] = torch.linalg.inv(linear)
    matrix[:, :, 2] = 23 / 2 - matrix[:, :, :2].sum(dim=2) * 39 / 2
    code = torch.where(labels == 255, 0.0, labels.float() + 1)
    grey, warped = warp(image, labels, linear, 24)

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
    linear = maps(*(augmentation.draw(rng)["linear"].numpy() for _ in range(300)))
    labels = torch.full((300, side, side), 3, dtype=torch.uint8)
    _, warped = warp(torch.zeros_like(labels), labels, linear, 32)
    assert (warped == 3).all()
    _, cut = warp(torch.zeros_like(labels)[:, 6:-6, 6:-6], labels[:, 6:-6, 6:-6], linear, 32)
    assert (cut == 255).any(), "a smaller square must show; otherwise this test proves nothing"


def test_what_the_warp_fills_in_is_unlabelled_and_never_a_class() -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    _, warped = warp(torch.zeros_like(labels), labels, maps(_linear(45, 0, 0, False, False)), 32)
    assert warped[0, 0, 0] == 255
    assert set(np.unique(warped).tolist()) == {0, 255}


def test_labels_are_never_mixed() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, :, 32:] = 4
    _, warped = warp(torch.zeros_like(labels), labels, maps(_linear(33, 5, -7, True, False)), 32)
    assert set(np.unique(warped).tolist()) == {0, 4}


def test_the_shift_is_added_and_wipes_nothing_out() -> None:
    image = torch.tensor([[[0, 100], [200, 250]]], dtype=torch.uint8)
    parameters = {"linear": torch.eye(2)[None], "shift": torch.tensor([20.0])}
    grey, _ = augment(image, torch.zeros_like(image), parameters, 2)
    assert torch.allclose(grey, torch.tensor([[[20.0, 120.0], [220.0, 270.0]]]), atol=1e-3)


STRONG = Augmentation(
    intensity={
        name: ChangeRange(strength=change.most / 2, p=0.7) for name, change in CHANGES.items() if name != "shift"
    }
)


def test_a_batch_of_any_size_gives_each_sample_the_same() -> None:
    for augmentation in (Augmentation(), STRONG):
        image, labels = squares(32, count=5)
        rng = np.random.default_rng(1)
        drawn = [augmentation.draw(rng) for _ in range(5)]
        whole = augment(image, labels, batch(*drawn), 16)
        assert torch.isfinite(whole[0]).all()
        for i in range(5):
            one = augment(image[i : i + 1], labels[i : i + 1], batch(drawn[i]), 16)
            # the paper's changes to the last bit; exp and log of a vector's last elements are computed otherwise
            atol = 0 if augmentation is not STRONG else 1e-3
            torch.testing.assert_close(one[0][0], whole[0][i], rtol=0, atol=atol)
            assert torch.equal(one[1][0], whole[1][i])


def test_switching_one_change_off_leaves_the_others() -> None:
    everything = STRONG.draw(np.random.default_rng(3))
    for off in STRONG.intensity:
        left = {name: given for name, given in STRONG.intensity.items() if name != off}
        drawn = replace(STRONG, intensity=left).draw(np.random.default_rng(3))
        assert drawn.keys() == everything.keys() - {off}
        assert all(torch.equal(value, everything[name]) for name, value in drawn.items())
    paper = Augmentation().draw(np.random.default_rng(3))
    assert paper.keys() == {"linear", "shift"}
    assert torch.equal(paper["linear"], everything["linear"])
    assert torch.equal(paper["shift"], everything["shift"])
    without = Augmentation(intensity_shift=0).draw(np.random.default_rng(3))
    assert torch.equal(without["linear"], paper["linear"])
    assert paper["shift"] != 0
    assert without["shift"] == 0


def test_parameters_stay_in_their_ranges_and_fill_them() -> None:
    rng = np.random.default_rng(0)
    drawn = batch(*(STRONG.draw(rng) for _ in range(1000)))
    assert 24 < drawn["shift"].max() <= 25.5
    assert -25.5 <= drawn["shift"].min() < -24
    for name, given in STRONG.intensity.items():
        amounts, strength = drawn[name], given.strength
        assert 0.65 < (amounts != 0).float().mean() < 0.75, "p of the samples"
        assert 0.95 * strength < amounts.max() <= strength
        lowest = float(amounts.min())
        assert lowest == 0 if name in ("blur", "speckle", "noise") else -strength <= lowest < -0.95 * strength


def test_numbers_are_those_of_before_there_were_changes_beside_the_shift() -> None:
    drawn = Augmentation().draw(np.random.default_rng([0, 1, 2]))
    assert drawn["linear"].tolist() == [
        [0.6594681143760681, -0.5797929763793945],
        [-0.7602481842041016, -0.8253280520439148],
    ]
    assert float(drawn["shift"]) == -9.311290740966797
    assert NOTHING.draw(np.random.default_rng(0)).keys() == {"linear", "shift"}


def changed(name: str, amount: float, grey: torch.Tensor, seed: int = 5) -> torch.Tensor:
    """A picture ``(H, W)`` changed alone, beside one that is left as it is."""
    parameters = {
        "linear": torch.eye(2).expand(2, 2, 2),
        name: torch.tensor([amount, 0.0]),
        "seed": torch.tensor([seed, 6]),
    }
    both = torch.stack([grey, grey])
    result, _ = augment(both, both, parameters, grey.shape[-1])
    plain, _ = augment(both, both, {"linear": parameters["linear"]}, grey.shape[-1])
    assert torch.equal(result[1], plain[1]), "a sample with a neutral amount stays untouched"
    assert not torch.equal(result[0], plain[0])
    return result[0]


def test_each_change_does_what_it_says() -> None:
    image = squares(64)[0][0]
    grey = image.float()
    assert torch.allclose(changed("gain", 0.3, image), grey * np.exp(0.3), atol=0.01)
    assert torch.allclose(changed("gamma", -0.4, image), 255 * (grey / 255) ** np.exp(-0.4), rtol=1e-3, atol=0.2)
    blurred = changed("blur", 1.5, image)
    expected = ndimage.gaussian_filter(grey.numpy(), 1.5, mode="nearest", truncate=4)
    assert np.abs(blurred.numpy() - expected).max() < 1
    flat = torch.full((256, 256), 100, dtype=torch.uint8)
    for name, spread in (("noise", 255 * 0.1), ("speckle", 100 * 0.1)):
        noise = changed(name, 0.1, flat) - 100
        assert abs(float(noise.mean())) < 0.03 * spread
        assert abs(float(noise.std()) - spread) < 0.02 * spread
        for shifted in (noise.roll(1, 0), noise.roll(1, 1)):
            assert abs(float((noise * shifted).mean())) < 0.03 * spread**2, "no pixel says anything about the next"
    lit = changed("illumination", 0.5, flat) / 100
    assert np.exp(-0.8) < lit.min() < 0.95
    assert 1.05 < lit.max() < np.exp(0.8)
    assert (lit[1:] - lit[:-1]).abs().max() < 0.05, "smooth"


def test_fields_are_their_samples() -> None:
    flat = torch.full((64, 64), 100, dtype=torch.uint8)
    for name in ("noise", "speckle", "illumination"):
        assert torch.equal(changed(name, 0.1, flat, seed=5), changed(name, 0.1, flat, seed=5))
        assert not torch.equal(changed(name, 0.1, flat, seed=5), changed(name, 0.1, flat, seed=8))
    noise, speckle = ((changed(name, 0.1, flat) - 100).flatten() for name in ("noise", "speckle"))
    assert abs(float(torch.corrcoef(torch.stack([noise, speckle]))[0, 1])) < 0.05


def test_another_change_in_the_list_leaves_fields_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = torch.full((64, 64), 100, dtype=torch.uint8)
    before = changed("speckle", 0.1, flat)
    monkeypatch.setattr("rcm_cascade.data.augment.CHANGES", {"new": CHANGES["gain"], **CHANGES})
    assert torch.equal(changed("speckle", 0.1, flat), before)


def test_dark_and_bright_grey_levels_are_not_clamped() -> None:
    parameters = {"linear": torch.eye(2)[None], "shift": torch.tensor([-50.0]), "noise": torch.tensor([0.01])}
    image = torch.tensor([[[0, 20], [40, 250]]], dtype=torch.uint8)
    grey, _ = augment(image, image, parameters | {"seed": torch.tensor([1])}, 2)
    assert grey.flatten()[0] < grey.flatten()[1] < grey.flatten()[2] < 0
    mirrored = CHANGES["gamma"].function(torch.tensor([-51.0, 510.0]), torch.tensor(np.log(2.0)), torch.tensor(0))
    assert mirrored.tolist() == pytest.approx([-10.2, 1020.0])


@pytest.mark.parametrize("wrong", [{"rotation": 181}, {"flip": 1.1}, {"shear": -1}, {"intensity_shift": 2}])
def test_impossible_ranges_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="should be"):
        Augmentation(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gian": {"strength": 1}}, "gian is no change of grey levels; known are illumination, blur"),
        ({"shift": {"strength": 0.1}}, "shift is no change"),
        ({"gain": {}}, r"gain\.strength\n  Field required"),
        ({"gain": {"strength": 0.1, "q": 1}}, r"gain\.q\n  Unexpected"),
        ({"blur": {"strength": 2.5}}, r"blur\.strength 2\.5 is out of range \(0 to 2\)"),
        ({"noise": {"strength": 0.1, "p": 1.5}}, r"noise\.p\n.*should be less"),
        ({"noise": {"strength": float("nan")}}, "finite number"),
    ],
)
def test_impossible_changes_of_grey_levels_are_refused(wrong: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(intensity=wrong)  # type: ignore[arg-type]


def test_what_is_off_is_left_out() -> None:
    off = {"gain": ChangeRange(strength=0), "blur": ChangeRange(strength=0, p=0.5)}
    assert Augmentation(intensity=off) == Augmentation()
