"""PNG, BMP, JPEG and JPEG 2000. Their densities say nothing about tissue."""

from pathlib import Path

import imagecodecs
import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from rcm_cascade.data.formats.base import Format, Pixels, check_size
from rcm_cascade.errors import InputError


def _read(path: Path, plugin: type[ImageFile]) -> Pixels:
    # the plug-in itself, because Image.open refuses large mosaics unless a global limit is lifted for everybody
    with path.open("rb") as file, plugin(file) as picture:
        check_size(path, picture.height, picture.width)
        if picture.mode == "P":
            return Pixels(np.asarray(picture), np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3))
        if plugin is PngImageFile:
            return Pixels(imagecodecs.png_decode(path.read_bytes()))  # Pillow cuts 16-bit colour down to 8
        if plugin is Jpeg2KImageFile:
            return Pixels(imagecodecs.jpeg2k_decode(path.read_bytes()))  # likewise
        if picture.mode not in ("L", "LA", "RGB", "RGBA", "1"):
            raise InputError(f"{path} has colour mode {picture.mode}; expected grey or RGB: save it as greyscale")
        return Pixels(np.asarray(picture.convert("L") if picture.mode == "1" else picture))


Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), lambda path: _read(path, PngImageFile))
Format("BMP", (".bmp",), (b"BM",), lambda path: _read(path, BmpImageFile))
Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), lambda path: _read(path, JpegImageFile), lossy=True)
Format("JPEG 2000", (".jp2",), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), lambda path: _read(path, Jpeg2KImageFile))
