"""Augmentation: parameters drawn a sample on the CPU, applied a batch at once on its device by one fused warp."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from kornia.geometry import create_meshgrid
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random, and how far. The paper's four: rotation, flips, shear, mean intensity.

    Its ranges are our choice; the paper gives none.

    Args:
        rotation: largest angle in degrees, either way; 0: none; 180: any angle.
        flip: probability of each of the two mirrorings, ``[0, 1]``.
        shear: largest shear angle in degrees, of each axis, either way; 0: none.
        intensity_shift: largest additive shift, either way, as a share of the grey range, ``[0, 1]``.

    Raises:
        ValueError: if a range is impossible.
    """

    rotation: float = 180.0
    flip: float = 0.5
    shear: float = 10.0
    intensity_shift: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.rotation <= 180 and 0 <= self.flip <= 1 and 0 <= self.shear <= 30):
            raise ValueError(
                f"rotation {self.rotation}° (0 to 180), flip {self.flip} (0 to 1) or shear {self.shear}° (0 to 30) is "
                "out of range"
            )
        if not 0 <= self.intensity_shift <= 1:
            raise ValueError(f"intensity_shift {self.intensity_shift} is out of range (0 to 1)")

    def read_side(self, patch: int) -> int:
        """Side of the square to read, so that whatever is drawn brings in tissue rather than corners of nothing.

        Args:
            patch: side of the patch, in px.

        Returns:
            The smallest side of the patch's parity that holds the patch under any rotation and shear in range.
        """
        if not self.rotation and not self.shear:
            return patch
        angles = np.linspace(-self.rotation, self.rotation, 181 if self.rotation else 1)
        shears = (-self.shear, self.shear) if self.shear else (0.0,)
        reach = max(
            float(np.abs(_linear(angle, sx, sy, False, False) @ corner).max())
            for angle in angles
            for sx, sy in product(shears, shears)
            for corner in np.array([[1.0, 1.0], [1.0, -1.0]])
        )
        extra = math.ceil(patch * (reach - 1) / 2) + 2  # 2: the bicubic neighbours, and angles between those tried
        return patch + 2 * extra

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], float]:
        """One sample's parameters.

        Draws the same number of values whatever is switched off, so that switching one change off leaves the others.

        Returns:
            The linear map ``(2, 2)`` float32 from the patch to what is read, (x, y) order, about their common centre;
            and the additive shift in grey levels.
        """
        angle = float(rng.uniform(-1, 1)) * self.rotation
        flip_x, flip_y = (bool(v) for v in rng.random(2) < self.flip)
        shear_x, shear_y = (float(v) * self.shear for v in rng.uniform(-1, 1, 2))
        shift = float(rng.uniform(-1, 1)) * self.intensity_shift * 255
        return _linear(angle, shear_x, shear_y, flip_x, flip_y).astype(np.float32), shift


def _linear(angle: float, shear_x: float, shear_y: float, flip_x: bool, flip_y: bool) -> NDArray[np.float64]:
    """Rotation · shear · flips, ``(2, 2)``, (x, y) order; angles in degrees."""
    a = math.radians(angle)
    c, s, x, y = math.cos(a), math.sin(a), math.tan(math.radians(shear_x)), math.tan(math.radians(shear_y))
    flip_1, flip_2 = -1.0 if flip_x else 1.0, -1.0 if flip_y else 1.0
    # Multiplied out: [[c, -s], [s, c]] · [[1, x], [y, 1]] · diag(flips); three small arrays took longer than a read.
    return np.array([[(c - s * y) * flip_1, (c * x - s) * flip_2], [(s + c * y) * flip_1, (s * x + c) * flip_2]])


def warp(image: Tensor, labels: Tensor, linear: Tensor, shift: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Applies each sample's parameters and crops, in one warp of the image and one of the labels.

    Labels are encoded as label + 1, unlabelled as 0, so that whatever the warp fills in is unlabelled; they are sampled
    by nearest neighbour, so no class is ever mixed from two others. The image is continued beyond its border by
    replication, and sampled bicubically: bilinear sampling blurs rims of one or two pixels, and a network trained on
    blurred rims does not know sharp ones.

    Args:
        image: ``(B, S, S)`` grey levels, uint8, S ≥ patch of the patch's parity.
        labels: ``(B, S, S)`` uint8.
        linear: ``(B, 2, 2)`` float32, from patch to image, (x, y) order, about the common centre.
        shift: ``(B,)`` float32, added to the grey levels. The sum is not clamped: half of a mosaic is darker than the
            largest shift, and clamping would wipe its texture out.
        patch: side P of the result.

    Returns:
        Grey levels ``(B, P, P)`` float32, about [0, 255], and labels ``(B, P, P)`` uint8.
    """
    grid = _sampling_grid(linear.to(image.device, torch.float32), image.shape[-1], patch)
    grey = image.to(torch.float32).unsqueeze(1)
    grey = grid_sample(grey, grid, mode="bicubic", padding_mode="border", align_corners=True)
    grey = grey.squeeze(1) + shift.to(image.device).view(-1, 1, 1)
    code = (labels + 1).to(torch.float32).unsqueeze(1)  # uint8: 255 + 1 is 0
    code = grid_sample(code, grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return grey, code.squeeze(1).to(torch.uint8) - 1


def _sampling_grid(linear: Tensor, side: int, patch: int) -> Tensor:
    """Where each pixel of the patch is read, in [-1, 1] of the square: ``(B, P, P, 2)`` float32, (x, y) order.

    What kornia's `warp_affine` hands to `grid_sample`, too, but once for image and labels, and from the map that we
    have: kornia takes its inverse and inverts that twice, which cost three times as much as the sampling. Products and
    sums rather than a matrix product, which a GPU may be told to compute in TF32, a quarter of a pixel off.
    """
    x, y = create_meshgrid(patch, patch, device=linear.device, dtype=torch.float32)[0].unbind(dim=-1)
    scaled = (linear * ((patch - 1) / max(side - 1, 1))).view(-1, 2, 2, 1, 1)
    grid = linear.new_empty(len(linear), patch, patch, 2)
    for axis in (0, 1):  # a row of x and a column of y, so that the only pass over all pixels is their sum
        torch.add(scaled[:, axis, 0] * x[:1], scaled[:, axis, 1] * y[:, :1], out=grid[..., axis])
    return grid


def centre_crop(square: Tensor, patch: int) -> Tensor:
    """The middle ``(…, P, P)`` of ``(…, S, S)``, S - P even."""
    margin = (square.shape[-1] - patch) // 2
    return square[..., margin : margin + patch, margin : margin + patch]
