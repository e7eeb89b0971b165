"""What the files of this folder share: what a format is, and guards round decoders.

Files are not trusted: whatever they make a decoder raise becomes one sentence.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.errors import InputError


class FileWarning(UserWarning):
    """How a file was read, where that had to be chosen."""


class Pixels(NamedTuple):
    """What a file holds, as stored: nothing is scaled, inverted or looked up.

    Args:
        values: ``(H, W)`` or ``(H, W, channels)``, of any dtype.
        palette: ``(≤ 256, 3)`` uint8, or 4 with alpha, where the values are indices into one.
        bits: of a sample.
        alpha: whether the last channel is one.
        white_is_zero: whether the grey levels run from white to black.
        luma_first: whether the first of three channels is the grey level (YCbCr).
        lossy: the codec, where it may blur the ids of a label map into one another; else empty.
        whole: False where parts were never written, and hold black.
        note: what was chosen, for a warning; else empty.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    bits: int = 8
    alpha: bool = False
    white_is_zero: bool = False
    luma_first: bool = False
    lossy: str = ""
    whole: bool = True
    note: str = ""


class Stated(NamedTuple):
    """What a file says of its pixel size.

    Args:
        size: width and height of a pixel in µm; None: nothing about tissue.
        note: what it says that does not count, for a warning; else empty.
    """

    size: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Format:
    """An image format. It is known once it has been made.

    Args:
        name: for messages.
        suffixes: of its files, by which they are found in a folder.
        starts: first bytes of its files, by which it is recognised.
        read: pixels of a file; may raise anything where the file is damaged. It calls `check_size` before it decodes,
            `refuse_turned` and, where its decoder accepts less than the whole, `refuse_truncated`.
        pixel_size: what a file says of its pixel size; may raise anything, which then says nothing.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...]
    read: Callable[[Path], Pixels]
    pixel_size: Callable[[Path], Stated] = lambda path: Stated()

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


def format_of(path: Path) -> Format:
    """The format by a file's first bytes.

    Raises:
        InputError: if the file is missing, empty, or no image in one of the formats.
    """
    expected = f"expected an image file, {readable()}"
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}); {expected}: check the path") from error
    for format_ in FORMATS.values():
        if start.startswith(format_.starts):
            return format_
    raise InputError(f"{path} is no image this program reads; {expected}: export it as one of these")


def refuse_turned(path: Path, orientation: object) -> None:
    """Refuses an image that is stored turned: its mosaic or label map may not be, and coordinates would be unclear.

    Args:
        path: of the file.
        orientation: as TIFF and EXIF number it, 1 being upright; what is no orientation is ignored.

    Raises:
        InputError: if it is 2 to 8.
    """
    if orientation in range(2, 9):
        raise InputError(
            f"{path} is stored turned or mirrored, and a tag says so (orientation {orientation}, where 1 is upright); "
            "turn the pixels and save it without that tag, and its label map or mosaic alike"
        )


def refuse_several(path: Path, images: int) -> NoReturn:
    """Refuses a file of which nobody can say which image is the mosaic.

    Raises:
        InputError: always.
    """
    raise InputError(f"{path} holds {images} images; expected one mosaic: save the one you mean as its own file")


def refuse_truncated(path: Path, what: str) -> NoReturn:
    """Refuses an image of which a part is missing.

    Raises:
        InputError: always.
    """
    raise InputError(f"{path} is truncated or damaged: {what}; copy or export it again")
