"""Guards round decoders: files are not trusted, and whatever they make a decoder raise becomes one sentence."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rcm_cascade.errors import InputError

FORMATS: Final = "TIFF, PNG, BMP, JPEG or JPEG 2000"

TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files."""

MAX_PIXELS: Final = 2**30
"""A larger image is refused before it is decoded: seven times the largest mosaic, and a guard against bombs."""


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
            f"save it again as {FORMATS}"
        ) from error
    finally:
        logger.disabled = was_disabled


def first_bytes(path: Path) -> bytes:
    """The first 16 bytes of a file, by which its format is told.

    Raises:
        InputError: if the file is missing, a folder, empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected an image file: {FORMATS}") from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected an image file: check the path") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}); expected a readable image file: check its permissions"
        ) from error
    if not start:
        raise InputError(f"{path} is empty (0 bytes); expected an image: copy or export it again")
    return start


def check_size(path: Path, height: int, width: int) -> None:
    """Refuses an image by its size in px, before it is decoded.

    Raises:
        InputError: if it has no pixels or more than `MAX_PIXELS`.
    """
    if not 0 < height * width <= MAX_PIXELS:
        raise InputError(
            f"{path} is {size_text((height, width))} (height × width), {height * width / 1e6:.0f} MP; expected 1 px to "
            f"{MAX_PIXELS / 1e6:.0f} MP: split the mosaic"
        )


def size_text(shape: tuple[int, ...]) -> str:
    """``"height × width px"``."""
    return f"{shape[0]} × {shape[1]} px"
