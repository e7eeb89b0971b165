import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rcm_cascade.training.loss import (
    LossArguments,
    cross_entropy,
    inverse_frequency,
    label_pyramid,
    level_loss,
    pool_labels,
    soft_dice,
)


def case(labelled: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 9, generator=generator, requires_grad=True)
    target = torch.randint(0, 3, (2, 8, 9), generator=generator).to(torch.uint8)
    target[torch.rand(2, 8, 9, generator=generator) > labelled] = 255
    return logits, target


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    logits, target = case()
    expected = F.cross_entropy(logits, target.long(), ignore_index=255)
    assert torch.allclose(cross_entropy(logits, target), expected)
    weights = torch.tensor([1.0, 5.0, 0.5])
    expected = F.cross_entropy(logits, target.long(), weight=weights, ignore_index=255)
    assert torch.allclose(cross_entropy(logits, target, weights), expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_an_unlabelled_batch_gives_zero_with_a_gradient(weights: torch.Tensor | None) -> None:
    logits, target = case()
    target[:] = 255
    loss = level_loss(logits, target, LossArguments(), weights)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_unlabelled_pixels_have_no_say() -> None:
    logits, target = case()
    before = level_loss(logits, target, LossArguments())
    changed = torch.where((target == 255).unsqueeze(1), logits + 7 * torch.randn_like(logits), logits)
    assert not torch.equal(changed, logits)
    assert torch.allclose(level_loss(changed, target, LossArguments()), before)


def test_dice_of_a_perfect_and_of_a_wrong_prediction() -> None:
    target = torch.randint(0, 2, (1, 8, 8)).to(torch.uint8)
    logits = 50 * F.one_hot(target.long(), 3).permute(0, 3, 1, 2).float()
    assert soft_dice(logits, target).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice(logits.roll(1, dims=1), target).item() > 0.6


def test_dice_by_hand_and_absent_classes_left_out() -> None:
    target = torch.tensor([[[0, 0, 1, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 3, 1, 4)
    third = 1 / 3
    expected = ((1 - 2 * 2 * third / (3 * third + 2)) + (1 - 2 * third / (3 * third + 1))) / 2
    assert soft_dice(logits, target).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("equal", (1 / 3, 1 / 3, 1 / 3)),
        ("coarse", (4 / 7, 2 / 7, 1 / 7)),
        ("fine", (1 / 7, 2 / 7, 4 / 7)),
        ((0, 0, 1), (0, 0, 1)),
    ],
)
def test_level_weights(named: object, expected: tuple[float, ...]) -> None:
    assert LossArguments(level_weights=named).of_levels(3) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [(1.0,), (1.0, 1.0, -1.0), (0.0, 0.0, 0.0)])
def test_wrong_level_weights(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected 3 weights"):
        LossArguments(level_weights=wrong).of_levels(3)


def test_both_terms_can_be_switched_off_but_not_together() -> None:
    logits, target = case()
    ce, dice = cross_entropy(logits, target), soft_dice(logits, target)
    assert torch.equal(level_loss(logits, target, LossArguments(dice=0)), ce)
    assert torch.equal(level_loss(logits, target, LossArguments(cross_entropy=0, dice=2)), 2 * dice)
    with pytest.raises(ValueError, match="more than 0"):
        LossArguments(cross_entropy=0, dice=0)


def test_inverse_frequency() -> None:
    weights = inverse_frequency([300, 100, 0])
    assert weights.tolist() == pytest.approx([400 / 600, 2.0, 0.0])
    assert 300 * weights[0] + 100 * weights[1] == pytest.approx(400)


def test_the_last_level_alone_is_no_injection() -> None:
    assert LossArguments(level_weights="last").of_levels(3) == (0, 0, 1)
    assert LossArguments(level_weights="last").of_levels(1) == (1,)


def by_hand(labels: np.ndarray, factor: int) -> np.ndarray:
    height, width = (-(-n // factor) for n in labels.shape)
    result = np.full((height, width), 255, np.uint8)
    for y in range(height):
        for x in range(width):
            block = labels[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].reshape(-1)
            votes = [int(v) for v in block if v != 255]
            if votes:
                result[y, x] = max(dict.fromkeys(votes), key=votes.count)  # max keeps the first in scan order
    return result


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("size", [(16, 24), (17, 23), (3, 5)])
def test_pooling_is_the_majority_of_labelled_votes_ties_to_the_first(factor: int, size: tuple[int, int]) -> None:
    labels = np.random.default_rng(factor).choice(np.array([0, 1, 2, 255, 255], np.uint8), (2, *size))
    pooled = pool_labels(torch.from_numpy(labels), factor, 3).numpy()
    for one, expected in zip(pooled, labels, strict=True):
        assert np.array_equal(one, by_hand(expected, factor))


def test_ties_go_to_the_first_in_scan_order_not_to_the_lowest_class() -> None:
    assert pool_labels(torch.tensor([[[2, 0], [0, 2]]], dtype=torch.uint8), 2, 3).item() == 2
    assert pool_labels(torch.tensor([[[255, 1], [0, 255]]], dtype=torch.uint8), 2, 3).item() == 1


def test_one_labelled_pixel_decides_and_none_leaves_unlabelled() -> None:
    labels = torch.full((1, 4, 8), 255, dtype=torch.uint8)
    labels[0, 3, 3] = 2
    assert pool_labels(labels, 4, 3).tolist() == [[[2, 255]]]


def test_every_level_is_pooled_from_full_resolution() -> None:
    """Pooling twice would give 1: three blocks of four would have a majority of one pixel each."""
    labels = torch.tensor(
        [[[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]], dtype=torch.uint8
    )  # 6 ones, 10 zeros
    coarse, middle, fine = label_pyramid(labels, (4, 2, 1), 2)
    assert coarse.tolist() == [[[0]]]
    assert middle.tolist() == [[[1, 1], [0, 0]]]
    assert torch.equal(fine, labels)
    three_quarters = torch.tensor(
        [[[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]], dtype=torch.uint8
    )  # 9 ones of 16, as 3 + 3 + 3 + 0
    assert label_pyramid(three_quarters, (4,), 2)[0].tolist() == [[[1]]]
