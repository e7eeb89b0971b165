"""The label pyramid: the target of each level, from the full-resolution label map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rcm_cascade.classes import UNLABELLED


def pool_labels(labels: Tensor, factor: int, num_classes: int) -> Tensor:
    """Majority among the labelled pixels of each ``factor × factor`` block.

    Ties go to the class that comes first in scan order (row by row). A block without a labelled pixel is unlabelled; so
    is the part of a block beyond the border.

    Args:
        labels: ``(B, H, W)`` uint8, at full resolution.
        factor: side of a block, in px.
        num_classes: C.

    Returns:
        ``(B, ceil(H / factor), ceil(W / factor))`` uint8.
    """
    if factor == 1:
        return labels
    height, width = labels.shape[-2:]
    padded = F.pad(labels, (0, -width % factor, 0, -height % factor), value=UNLABELLED)
    b, h, w = padded.shape[0], padded.shape[1] // factor, padded.shape[2] // factor
    blocks = padded.view(b, h, factor, w, factor).permute(2, 4, 0, 1, 3).reshape(factor**2, b, h, w)
    pixels = factor**2
    # A class's rank is its votes, then how early its first vote comes; both fit one int32: votes * pixels + earliness.
    earliness = torch.arange(pixels - 1, -1, -1, dtype=torch.int32, device=labels.device).view(-1, 1, 1, 1)
    best = torch.zeros(b, h, w, dtype=torch.int32, device=labels.device)
    result = torch.full((b, h, w), UNLABELLED, dtype=torch.uint8, device=labels.device)
    for c in range(num_classes):
        votes = blocks == c
        rank = votes.sum(dim=0, dtype=torch.int32) * pixels + (votes * earliness).amax(dim=0)
        better = rank > best
        best = torch.where(better, rank, best)
        result = torch.where(better, c, result)
    return result.to(torch.uint8)


def label_pyramid(labels: Tensor, factors: tuple[int, ...], num_classes: int) -> list[Tensor]:
    """The target of every level, each pooled directly from full resolution.

    Pooling a pooled map again would let a minority win (3 of 16 pixels can fill a block of 4 that then outvotes).

    Args:
        labels: ``(B, H, W)`` uint8, 255 = unlabelled.
        factors: down-sampling of each level, coarse to fine: 4, 2, 1 in the paper's form.
        num_classes: C.

    Returns:
        One ``(B, ceil(H / f), ceil(W / f))`` uint8 a level, coarse to fine.
    """
    return [pool_labels(labels, factor, num_classes) for factor in factors]
