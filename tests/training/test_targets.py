import numpy as np
import pytest
import torch

from rcm_cascade.training.targets import label_pyramid, pool_labels


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
