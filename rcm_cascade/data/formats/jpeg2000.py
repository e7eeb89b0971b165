"""JPEG 2000, as a file (.jp2) or as a bare codestream (.j2k)."""

from pathlib import Path

import imagecodecs
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from rcm_cascade.data.formats.base import Format, Pixels, check_size


def read(path: Path) -> Pixels:
    """The whole picture, up to 16 bit a channel."""
    with path.open("rb") as file, Jpeg2KImageFile(file) as picture:
        check_size(path, picture.height, picture.width)
    return Pixels(imagecodecs.jpeg2k_decode(path.read_bytes()))


Format("JPEG 2000", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), read)
