"""What the files of this folder share: what a format is, and guards round decoders.

Files are not trusted: whatever they make a decoder raise becomes one sentence.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.errors import InputError


class Pixels(NamedTuple):
    """What a file holds, as stored.

    Args:
        values: ``(H, W)`` or ``(H, W, channels)``.
        palette: ``(≤ 256, 3)`` uint8 where the values are indices into one.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Format:
    """An image format. It is known once it has been made.

    Args:
        name: for messages.
        suffixes: of its files, by which they are found in a folder.
        starts: first bytes of its files, by which it is recognised.
        read: pixels of a file; may raise anything where the file is damaged. It calls `check_size` before it decodes.
        pixel_size: width and height of a pixel in µm as the file states it; None: the format states none about tissue.
        lossy: whether it blurs the ids of a label map into one another.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...]
    read: Callable[[Path], Pixels]
    pixel_size: Callable[[Path], tuple[float, float] | None] = lambda path: None
    lossy: bool = False

    def __post_init__(self) -> None:
        FORMATS[self.name] = self


FORMATS: Final[dict[str, Format]] = {}
"""By name; each file of this folder adds its formats."""

MAX_PIXELS: Final = 2**30
"""A larger image is refused before it is decoded: seven times the largest mosaic, and a guard against bombs."""


def readable() -> str:
    """The formats' names, for messages."""
    *names, last = sorted(FORMATS)
    return f"{', '.join(names)} or {last}"


def suffixes() -> tuple[str, ...]:
    """Those of all formats, in lower case; a file that is named is tried whatever its suffix."""
    return tuple(suffix for known in FORMATS.values() for suffix in known.suffixes)


@contextmanager
def in_one_sentence(path: Path) -> Iterator[None]:
    """Turns any failure of a decoder into an InputError and keeps the decoders quiet meanwhile."""
    logger = logging.getLogger("tifffile")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise InputError(
            f"{path} cannot be decoded ({type(error).__name__}); the file is damaged or of an unknown variety: "
            f"save it again as {readable()}"
        ) from error
    finally:
        logger.disabled = was_disabled


def check_size(path: Path, height: int, width: int) -> None:
    """Refuses an image by its size in px, before it is decoded.

    Raises:
        InputError: if it has no pixels or more than `MAX_PIXELS`.
    """
    if not 0 < height * width <= MAX_PIXELS:
        raise InputError(
            f"{path} is {height} × {width} px (height × width), {height * width / 1e6:.0f} MP; expected 1 px to "
            f"{MAX_PIXELS / 1e6:.0f} MP: split the mosaic"
        )
