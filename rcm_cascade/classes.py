"""The class table: which id means what, its colour, and the value of an unlabelled pixel."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.errors import InputError

UNLABELLED: Final = 255
"""Grey value of a pixel without a label; never a class id."""

UNLABELLED_COLOR: Final = "#ffe119"
"""Yellow, as in the paper's Figure 2."""


@dataclass(frozen=True)
class LabelClass:
    """One class.

    Args:
        id: grey value in a label map, ``0 … C-1``.
        name: what reports call it.
        color: ``"#rrggbb"``.
    """

    id: int
    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue in ``[0, 255]``."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, ids ``0 … C-1`` in order.

    Raises:
        InputError: if ids are not ``0 … C-1`` in order, a name is used twice, a colour is not ``#rrggbb``, or there
            are more than 255 classes (255 means unlabelled).
    """

    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        ids = [c.id for c in self.classes]
        if not ids or ids != list(range(len(ids))) or len(ids) > UNLABELLED:
            raise InputError(f"class ids are {ids}; expected 0, 1, … without gaps and at most {UNLABELLED} of them")
        if len(set(self.names)) != len(ids):
            raise InputError(f"class names are {list(self.names)}; each may be used once only")
        for c in self.classes:
            if not re.fullmatch("#[0-9a-fA-F]{6}", c.color):
                raise InputError(f"class {c.name!r} has colour {c.color!r}; expected '#rrggbb'")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in id order."""
        return tuple(c.name for c in self.classes)

    def palette(self) -> NDArray[np.uint8]:
        """Colours by grey value, ``(256, 3)`` uint8 RGB; unlabelled is yellow, ids without a class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = [c.rgb for c in self.classes]
        table[UNLABELLED] = list(bytes.fromhex(UNLABELLED_COLOR[1:]))
        return table

    def to_plain(self) -> list[dict[str, Any]]:
        """A list of plain dictionaries, for YAML, JSON and checkpoints."""
        return [asdict(c) for c in self.classes]

    @classmethod
    def from_plain(cls, rows: Iterable[Mapping[str, Any]]) -> "ClassTable":
        """The inverse of `to_plain`.

        Raises:
            InputError: as the class does.
        """
        return cls(tuple(LabelClass(int(r["id"]), str(r["name"]), str(r["color"])) for r in rows))


RCM_CLASSES: Final = ClassTable(
    (
        LabelClass(0, "non-lesion", "#8c8c8c"),
        LabelClass(1, "artifact", "#4363d8"),
        LabelClass(2, "meshwork", "#3cb44b"),
        LabelClass(3, "ring", "#42d4f4"),
        LabelClass(4, "nested", "#e6194b"),
        LabelClass(5, "patternless", "#f032e6"),
    )
)
"""The six classes of Kose et al. 2018, in the paper's order."""

PAPER_SENSITIVITY: Final = (0.72, 0.77, 0.24, 0.77, 0.94, 0.90)
"""Test sensitivity per class that Kose et al. 2018 report."""

PAPER_SPECIFICITY: Final = (0.97, 0.97, 0.98, 0.97, 0.87, 0.91)
"""Test specificity per class that Kose et al. 2018 report."""
