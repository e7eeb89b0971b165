"""Augmentation: parameters drawn a sample on the CPU, applied a batch at once on its device.

Geometry is one warp; grey levels change through kornia, one function a change.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import field
from itertools import product
from typing import Annotated, Any, Final

import numpy as np
import torch
from kornia.augmentation import IntensityAugmentationBase2D
from kornia.filters import gaussian_blur2d
from kornia.geometry import create_meshgrid
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

Parameters = dict[str, Tensor]
"""What changes a sample: ``linear`` ``(2, 2)`` float32, the map from patch to what is read, (x, y) order, about their
common centre; the amount ``()`` float32 of each change of `CHANGES`, 0 for none; ``seed`` ``()`` int64 of random
fields. A batch has a leading axis B. Changes that are missing change nothing."""


def unchanged() -> Parameters:
    """Parameters of a sample that stays as it is."""
    return {"linear": torch.eye(2)}


ChangeFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What a change does to grey levels ``(B, 1, H, W)`` float32: of them, amounts ``(B, 1, 1, 1)``, and seeds of random
fields ``(B, 1, 1, 1)`` int64, another one for each sample and change. Where an amount is 0, the result is not used, but
it must not fail."""


class Change(IntensityAugmentationBase2D):  # type: ignore[misc]  # kornia's bases are not typed
    """A change of grey levels; the name of its registry entry is its key.

    Grey levels are about [0, 255] and never clamped: half of a mosaic is darker than the largest shift, and clamping,
    as kornia's gamma does, would wipe its texture out.

    Args:
        function: what it does to a batch.
        most: the largest strength.
        either_way: whether amounts may be negative.
    """

    def __init__(self, function: ChangeFunction, most: float, either_way: bool = True) -> None:
        super().__init__(p=0.5)  # at 1 kornia ignores batch_prob
        self.function, self.most, self.either_way = function, most, either_way

    def draw(self, rng: np.random.Generator, strength: float) -> float:
        """The amount for a sample, uniform up to the strength; 0 changes nothing."""
        return float(rng.uniform(-1 if self.either_way else 0, 1)) * strength

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """What kornia calls."""
        amount, seed = (params[name].to(input.device).view(-1, 1, 1, 1) for name in ("amount", "seed"))
        return self.function(input, amount, seed)


def illumination(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """Brighter here, darker there, smoothly over the patch: grey · exp(amount · field), field in about [-1, 1]."""
    nodes = 2 * _uniform_field(seed, 4, 4) - 1
    return grey * torch.exp(amount * interpolate(nodes, grey.shape[-2:], mode="bicubic", align_corners=True))


def blur(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """Out of focus: a Gaussian of up to ``strength`` px."""
    sigma = torch.where(amount > 0, amount, 1.0).view(-1, 1).expand(-1, 2)  # kornia refuses 0
    blurred: Tensor = gaussian_blur2d(grey, 2 * math.ceil(3 * MOST_BLUR) + 1, sigma, border_type="replicate")
    return blurred


def speckle(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """Noise in proportion to the grey level, of up to ``strength`` of it (standard deviation)."""
    return grey * (1 + amount * _normal_field(seed, *grey.shape[-2:]))


def gain(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """The detector's: grey · exp(amount); strength 0.2 is a factor of 0.82 to 1.22."""
    return grey * torch.exp(amount)


def gamma(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """Contrast of dark against bright: the exponent exp(amount) of grey / 255, negative grey levels mirrored."""
    return 255 * grey.sign() * (grey.abs() / 255) ** torch.exp(amount)


def shift(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """The paper's: the same amount added everywhere, in grey levels."""
    return grey + amount


def noise(grey: Tensor, amount: Tensor, seed: Tensor) -> Tensor:
    """The detector's, the same everywhere: a standard deviation of up to ``strength`` of the grey range."""
    return grey + 255 * amount * _normal_field(seed, *grey.shape[-2:])


MOST_BLUR: Final = 2.0
"""In px, standard deviation."""

CHANGES: Final[Mapping[str, Change]] = {
    "illumination": Change(illumination, most=1.0),
    "blur": Change(blur, most=MOST_BLUR, either_way=False),
    "speckle": Change(speckle, most=1.0, either_way=False),
    "gain": Change(gain, most=2.0),
    "gamma": Change(gamma, most=2.0),
    "shift": Change(shift, most=255.0),
    "noise": Change(noise, most=1.0, either_way=False),
}
"""By name, in the order in which they are applied: as tissue, optics and detector come one after the other."""


def _uniform_field(seed: Tensor, height: int, width: int) -> Tensor:
    """``(B, 1, height, width)`` float32 in (0, 1]: a hash of (seed, row, column), so that no batch can change it.

    Args:
        seed: ``(B, 1, 1, 1)`` int64.
        height: in px.
        width: in px.
    """
    rows = torch.arange(height, device=seed.device).view(-1, 1)
    value = _hash(_hash(_hash(seed) ^ rows) ^ torch.arange(width, device=seed.device))
    return ((value >> 8).to(torch.float32) + 0.5) / 2**24


def _hash(value: Tensor) -> Tensor:
    """32 well-mixed bits of int64: https://github.com/skeeto/hash-prospector, lowbias32."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        value = ((value ^ value >> shift) * factor) & 0xFFFFFFFF
    return value ^ value >> 16


def _normal_field(seed: Tensor, height: int, width: int) -> Tensor:
    """``(B, 1, height, width)`` float32 of zero mean and unit spread, by Box and Muller."""
    radius, angle = (_uniform_field(2 * seed + k, height, width) for k in (0, 1))
    return torch.sqrt(-2 * torch.log(radius)) * torch.cos(2 * math.pi * angle)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ChangeRange:
    """How far a change of grey levels goes.

    Args:
        strength: the largest amount; 0: the change is off.
        p: share of the samples that it changes.
    """

    strength: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    p: Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Augmentation:
    """What is changed at random, and how far. The paper's four: rotation, flips, shear, mean intensity.

    Its ranges are our choice; the paper gives none.

    Args:
        rotation: largest angle in degrees, either way; 0: none; 180: any angle.
        flip: probability of each of the two mirrorings, ``[0, 1]``.
        shear: largest shear angle in degrees, of each axis, either way; 0: none.
        intensity_shift: largest additive shift, either way, as a share of the grey range, ``[0, 1]``.
        intensity: further changes, by their names in `CHANGES`. Those of strength 0 are left out.

    Raises:
        ValueError: if a range is impossible, or a change or its parameter not known.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 180.0
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    shear: Annotated[float, Field(ge=0, le=30)] = 10.0
    intensity_shift: Annotated[float, Field(ge=0, le=1)] = 0.1
    intensity: Mapping[str, ChangeRange] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given in self.intensity.items():
            if name not in CHANGES or name == "shift":  # that one is intensity_shift
                known = ", ".join(name for name in CHANGES if name != "shift")
                raise ValueError(f"intensity.{name} is no change of grey levels; known are {known}")
            if given.strength > (most := CHANGES[name].most):
                raise ValueError(f"intensity.{name}.strength {given.strength:g} is out of range (0 to {most:g})")
        active = [name for name in CHANGES if name in self.intensity and self.intensity[name].strength]
        object.__setattr__(self, "intensity", {name: self.intensity[name] for name in active})

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
        corners = np.array([[1.0, 1.0], [1.0, -1.0]])
        tried = product(angles, shears, shears)
        reach = max(float(np.abs(_linear(*angles_of, False, False) @ corners).max()) for angles_of in tried)
        extra = math.ceil(patch * (reach - 1) / 2) + 2  # 2: the bicubic neighbours, and angles between those tried
        return patch + 2 * extra

    def draw(self, rng: np.random.Generator) -> Parameters:
        """One sample's parameters.

        Takes the same number of values whatever is switched off, so that switching one change off leaves the others.
        """
        angle = float(rng.uniform(-1, 1)) * self.rotation
        flip_x, flip_y = (bool(v) for v in rng.random(2) < self.flip)
        shear_x, shear_y = (float(v) * self.shear for v in rng.uniform(-1, 1, 2))
        amounts = {"shift": CHANGES["shift"].draw(rng, self.intensity_shift) * 255}
        linear = _linear(angle, shear_x, shear_y, flip_x, flip_y).astype(np.float32)
        drawn = {"linear": torch.from_numpy(linear)}
        if self.intensity:
            seed = int(rng.integers(2**31))
            drawn["seed"] = torch.tensor(seed)
            for name, given in self.intensity.items():
                apart = np.random.default_rng([seed, zlib.crc32(name.encode())])
                changed = apart.random() < given.p
                amounts[name] = CHANGES[name].draw(apart, given.strength) if changed else 0.0
        return drawn | {name: scalar(amount) for name, amount in amounts.items()}


def scalar(value: float) -> Tensor:
    """``()`` float32."""
    return torch.from_numpy(np.array(value, np.float32))  # a seventh of what torch.tensor takes


def _linear(angle: float, shear_x: float, shear_y: float, flip_x: bool, flip_y: bool) -> NDArray[np.float64]:
    """Rotation · shear · flips, ``(2, 2)``, (x, y) order; angles in degrees."""
    a = math.radians(angle)
    c, s, x, y = math.cos(a), math.sin(a), math.tan(math.radians(shear_x)), math.tan(math.radians(shear_y))
    flip_1, flip_2 = -1.0 if flip_x else 1.0, -1.0 if flip_y else 1.0
    # Multiplied out: [[c, -s], [s, c]] · [[1, x], [y, 1]] · diag(flips); three small arrays took longer than a read.
    return np.array([[(c - s * y) * flip_1, (c * x - s) * flip_2], [(s + c * y) * flip_1, (s * x + c) * flip_2]])


def augment(image: Tensor, labels: Tensor, parameters: Parameters, patch: int) -> tuple[Tensor, Tensor]:
    """Applies each sample's parameters and crops: one warp, then each change of grey levels.

    Args:
        image: ``(B, S, S)`` grey levels, uint8, S ≥ patch of the patch's parity.
        labels: ``(B, S, S)`` uint8.
        parameters: with a leading axis B.
        patch: side P of the result.

    Returns:
        Grey levels ``(B, P, P)`` float32, about [0, 255], and labels ``(B, P, P)`` uint8.
    """
    grey, labels = warp(image, labels, parameters["linear"], patch)
    grey = grey.unsqueeze(1)
    for name, change in CHANGES.items():
        if name in parameters:
            amount = parameters[name]
            seed = parameters.get("seed", torch.zeros_like(amount, dtype=torch.int64)) ^ zlib.crc32(name.encode())
            grey = change(grey, params={"amount": amount, "seed": seed, "batch_prob": amount != 0})
    return grey.squeeze(1), labels


def warp(image: Tensor, labels: Tensor, linear: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Moves and crops each sample, in one warp of the image and one of the labels.

    Labels are encoded as label + 1, unlabelled as 0, so that whatever the warp fills in is unlabelled; they are sampled
    by nearest neighbour, so no class is ever mixed from two others. The image is continued beyond its border by
    replication, and sampled bicubically: bilinear sampling blurs rims of one or two pixels, and a network trained on
    blurred rims does not know sharp ones.

    Args:
        image: ``(B, S, S)`` grey levels, uint8, S ≥ patch of the patch's parity.
        labels: ``(B, S, S)`` uint8.
        linear: ``(B, 2, 2)`` float32, from patch to image, (x, y) order, about the common centre.
        patch: side P of the result.

    Returns:
        Grey levels ``(B, P, P)`` float32, about [0, 255], and labels ``(B, P, P)`` uint8.
    """
    grid = _sampling_grid(linear.to(image.device, torch.float32), image.shape[-1], patch)
    grey = image.to(torch.float32).unsqueeze(1)
    grey = grid_sample(grey, grid, mode="bicubic", padding_mode="border", align_corners=True)
    code = (labels + 1).to(torch.float32).unsqueeze(1)  # uint8: 255 + 1 is 0
    code = grid_sample(code, grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return grey.squeeze(1), code.squeeze(1).to(torch.uint8) - 1


def _sampling_grid(linear: Tensor, side: int, patch: int) -> Tensor:
    """Where each pixel of the patch is read, in [-1, 1] of the square: ``(B, P, P, 2)`` float32, (x, y) order.

    What kornia's `warp_affine` hands to `grid_sample`, too, but once for image and labels, and from the map that we
    have: kornia takes its inverse and inverts that twice, which cost three times as much as the sampling. Products and
    sums rather than a matrix product, which a GPU may compute in TF32, a quarter of a pixel off.
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
