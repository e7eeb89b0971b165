"""The designs by name: what each says of itself in its arguments, and what a network of any design can do.

A design is a module here with two classes, its arguments, under `register`, and its network, and a file in
``conf/model`` that names it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LevelGeometry:
    """What tiling must know of one level.

    Args:
        factor: down-sampling of the mosaic at this level, ``2 ** (L - i)``.
        depth: poolings of the level's network.
        reach: one-sided reach of the level's network for aligned starts, in px of the level.
    """

    factor: int
    depth: int
    reach: int

    @property
    def alignment(self) -> int:
        """Tiles start on multiples of this many px of the level."""
        return int(2**self.depth)

    @property
    def halo(self) -> int:
        """The reach, rounded up to the alignment: 24, 48, 96 px for depths 2, 3, 4."""
        return -(-self.reach // self.alignment) * self.alignment


@dataclass(frozen=True, kw_only=True)
class Arguments(ABC):
    """The arguments of a network, as a checkpoint holds them; a subclass a design, with a field ``design``.

    Args:
        num_classes: number of classes C.
        in_channels: channels of the image.
        base_filters: filters of the first block of each level's network.

    Attributes:
        design: the design's name.
        trained_apart: whether each level is a network of its own, with its whole loss and its own gradient clipping.
        default_level_weights: `LossArguments.level_weights`, where the configuration gives none.

    Raises:
        ValueError: if an argument is out of range.
    """

    num_classes: int = 6
    in_channels: int = 1
    base_filters: int = 24

    design: ClassVar[str]
    trained_apart: ClassVar[bool] = False
    default_level_weights: ClassVar[str] = "equal"

    def __post_init__(self) -> None:
        for name in ("num_classes", "in_channels", "base_filters", "levels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")

    @abstractmethod
    def build(self) -> "Network":
        """The network with fresh weights.

        Raises:
            InputError: if it needs a package that is not installed.
        """

    @property
    @abstractmethod
    def geometry(self) -> tuple[LevelGeometry, ...]:
        """Factor, depth and reach of each level, coarse to fine."""

    @property
    def levels(self) -> int:
        """Networks, one a resolution."""
        return len(self.geometry)

    @property
    def prior_channels(self) -> int:
        """Channels of the coarser level's prediction that a level reads beside the image."""
        return 0

    @property
    def output_factors(self) -> tuple[int, ...]:
        """Down-sampling of each output that a loss is injected at in training, coarse to fine."""
        return tuple(g.factor for g in self.geometry)

    @property
    def alignment(self) -> int:
        """``A = max_i 2 ** (L - i + depth_i)``: images are padded to a multiple of so many px. Paper's form: 16."""
        return max(g.factor * g.alignment for g in self.geometry)

    def to_plain(self) -> dict[str, Any]:
        """A plain dictionary, for checkpoints."""
        return {"design": self.design, **asdict(self)}


class Network(nn.Module):
    """A network of any design.

    Args:
        arguments: of the network.
        levels: a network a level, coarse to fine.
    """

    def __init__(self, arguments: Arguments, levels: Iterable[nn.Module]) -> None:
        super().__init__()
        self.arguments, self.levels = arguments, nn.ModuleList(levels)
        self.geometry, self.alignment = arguments.geometry, arguments.alignment

    def predict(self, image: Tensor) -> Tensor:
        """Logits of the final map, ``(B, C, H, W)``, as `final` makes them; ``image`` as for ``forward``."""
        height, width = image.shape[-2:]
        return self.final(self(pad_to_multiple(image, self.alignment)))[..., :height, :width]

    def final(self, outputs: Sequence[Tensor]) -> Tensor:
        """Logits of the final map: the finest level's.

        Args:
            outputs: of ``forward``, for an image whose height and width are multiples of `alignment`.
        """
        return outputs[-1]

    def as_prior(self, logits: Tensor) -> Tensor:
        """What of a level's logits ``(B, C, h, w)`` goes, once up-sampled, to the next."""
        return logits.softmax(dim=1)

    def level_input(self, image: Tensor, prior: Tensor | None) -> Tensor:
        """What a level reads.

        Args:
            image: ``(B, in_channels, h, w)`` at this level's resolution.
            prior: `as_prior` of the coarser level, ``(B, C, h / 2, w / 2)``; None where there is none.
        """
        return image

    def handed_on(self, logits: Tensor, coarser: Callable[[], Tensor | None]) -> Tensor:
        """What annotation keeps of a strip of a coarse level until the next level: the prior.

        Args:
            logits: of the strip, ``(B, C, h, w)``.
            coarser: gives what the coarser level handed on, up-sampled; None at the coarsest level.
        """
        return self.as_prior(logits)

    def merged(self, logits: Tensor, coarser: Callable[[], Tensor | None]) -> Tensor:
        """Logits of the final map in a strip of the finest level; arguments as of `handed_on`."""
        return logits


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Replicates the last row and column of ``(B, C, H, W)`` until H and W are multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return F.pad(image, (0, right, 0, bottom), mode="replicate") if bottom or right else image


A = TypeVar("A", bound=Arguments)

DESIGNS: Final[dict[str, type[Arguments]]] = {}
"""Every design's arguments by its name; filled by `register`."""


def register(arguments: type[A]) -> type[A]:
    """Makes a design known under the name in its field ``design``."""
    DESIGNS[arguments.design] = arguments
    return arguments


def read_arguments(plain: Mapping[str, Any]) -> Arguments:
    """The inverse of `Arguments.to_plain`, also of what was written before there were designs.

    Raises:
        ValueError: if there is no such design, or an argument is out of range.
        TypeError: if the design has no such argument.
    """
    plain = with_design(plain)
    design = plain.pop("design")
    if design not in DESIGNS:
        raise ValueError(f"design is {design!r}; expected one of {', '.join(DESIGNS)}")
    return DESIGNS[design](**plain)


def with_design(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Plain arguments with their design, which ``network`` and ``prior`` used to name."""
    if "design" in plain:
        return dict(plain)
    apart = plain.get("prior") == "none"
    design = "dynunet" if plain.get("network") == "dynunet" else "ensemble" if apart else "cascade"
    unread = {"network", "levels", "depth_increment", "prior", "detach_prior"}
    unread -= {field.name for field in fields(DESIGNS[design])}
    return {"design": design} | {key: value for key, value in plain.items() if key not in unread}
