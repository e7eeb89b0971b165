"""PNG, BMP, JPEG and JPEG 2000. Their densities say nothing about tissue."""

import io
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from rcm_cascade.data.formats.base import Format, Pixels, check_size, refuse_several, refuse_truncated, refuse_turned
from rcm_cascade.errors import InputError

_INDEXED: Final = 3  # PNG's colour type
_ORIENTATION: Final = 274  # EXIF's tag
_JPEG2000_SPACES: Final = {16: "sRGB", 17: "grey", 18: "sYCC"}  # decoded to grey or RGB
_END: Final = b"\xff\xd9"  # of a JPEG and of a JPEG 2000 codestream


def _open(path: Path, plugin: type[ImageFile], content: bytes) -> ImageFile:
    """A picture before it is decoded, by the plug-in itself: Image.open refuses large ones, for everybody or nobody."""
    picture = plugin(io.BytesIO(content))
    check_size(path, picture.height, picture.width)
    orientation = 1
    with suppress(Exception):  # metadata never condemn good pixels
        orientation = picture.getexif().get(_ORIENTATION, 1)
    refuse_turned(path, orientation)
    return picture


def read_png(path: Path) -> Pixels:
    """Any colour type and bit depth.

    Raises:
        InputError: if the file ends early, is too large, an animation, or stored turned.
    """
    chunks = _pixel_chunks(path)
    _open(path, PngImageFile, _png(chunks)).close()
    chunks.pop(b"eXIf", None)
    *size, bits, colour = chunks[b"IHDR"][:10]
    palette = None
    if colour == _INDEXED:  # decoded as grey: Pillow, which gives indices, misses damage and rows
        colours = np.frombuffer(chunks.pop(b"PLTE"), np.uint8).reshape(-1, 3)
        opacity = np.frombuffer(chunks.pop(b"tRNS", b""), np.uint8)[: len(colours)]
        palette = np.column_stack([colours, np.full(len(colours), 255, np.uint8)])
        palette[: len(opacity), 3] = opacity
        chunks[b"IHDR"] = bytes([*size, bits, 0]) + chunks[b"IHDR"][10:]
    values = imagecodecs.png_decode(_png(chunks))  # Pillow cuts 16-bit colour down to 8
    alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    if bits < 8:  # which is scaled up
        grey = (values[..., 0] if alpha else values) // (255 // (2**bits - 1))
        values = np.dstack([grey, values[..., 1]]) if alpha else grey
    return Pixels(values, palette, bits=bits, alpha=alpha)


def _pixel_chunks(path: Path) -> dict[bytes, bytes]:
    """The parts of a PNG that are pixels, by kind: decoders refuse megabytes of XMP or a profile."""
    content = path.read_bytes()
    kept: dict[bytes, list[bytes]] = {}
    at, kind = 8, b""
    while kind != b"IEND":
        kind, end = content[at + 4 : at + 8], at + 12 + int.from_bytes(content[at : at + 4])
        if end > len(content) or not kind.isalpha():
            refuse_truncated(path, f"its part at byte {at} is not whole")
        if kind == b"acTL" and (frames := int.from_bytes(content[at + 8 : at + 12])) > 1:
            refuse_several(path, frames)
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf"):  # capitals: without it no picture
            if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
                refuse_truncated(path, f"its part at byte {at} has another checksum")
            kept.setdefault(kind, []).append(content[at + 8 : end - 4])
        at = end
    return {kind: b"".join(parts) for kind, parts in kept.items()}


def _png(chunks: Mapping[bytes, bytes]) -> bytes:
    parts = [kind + content for kind, content in chunks.items()]
    whole = [(len(part) - 4).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in parts]
    return b"".join([b"\x89PNG\r\n\x1a\n", *whole])


def read_bmp(path: Path) -> Pixels:
    """1 to 32 bit, with or without palette.

    Raises:
        InputError: if the file is too large or of another kind.
    """
    content = path.read_bytes()
    with _open(path, BmpImageFile, content) as picture:
        if picture.mode == "P":
            palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
            return Pixels(np.asarray(picture), palette, content[28])
        if picture.mode in "1L" and content[28] != (1 if picture.mode == "1" else 8) and picture.tile[0][0] == "raw":
            # a grey palette of 16 colours, or of two at 8 bit, which Pillow takes for another depth
            offset, (_, stride, direction) = picture.tile[0].offset, cast("tuple[str, int, int]", picture.tile[0].args)
            rows = np.frombuffer(content, np.uint8, stride * picture.height, offset).reshape(-1, stride)[::direction]
            if content[28] == 4:
                rows = np.stack([rows >> 4, rows & 15], axis=-1).reshape(len(rows), -1)
            greys = np.array([0, 255] if picture.mode == "1" else range(16), np.uint8)
            return Pixels(rows[:, : picture.width], np.repeat(greys[:, None], 3, axis=1))
        return Pixels(_values(path, picture), bits=1 if picture.mode == "1" else 8, alpha=picture.mode == "RGBA")


def _values(path: Path, picture: ImageFile) -> NDArray[Any]:
    if picture.mode not in ("L", "RGB", "RGBA", "1"):
        raise InputError(f"{path} has colour mode {picture.mode}; expected grey or RGB: save it as greyscale")
    return np.asarray(picture)


def read_jpeg(path: Path) -> Pixels:
    """Grey or colour.

    Raises:
        InputError: if the file ends early, is too large, stored turned or CMYK.
    """
    content = path.read_bytes()
    if content.find(_END, content.rfind(b"\xff\xda")) < 0:  # behind the last scan; previews have an end of their own
        refuse_truncated(path, "its end marker is missing")
    with _open(path, JpegImageFile, content) as picture:
        return Pixels(_values(path, picture), lossy="JPEG")


def read_jpeg2000(path: Path) -> Pixels:
    """Grey or colour, with or without boxes round the codestream.

    Raises:
        InputError: if the file ends early or is too large.
    """
    content = path.read_bytes()
    start = content.find(b"\xff\x4f\xff\x51")
    length = int.from_bytes(content[start - 8 : start - 4]) if content[start - 4 : start] == b"jp2c" else 0
    end = start - 8 + length if length > 1 else len(content)  # 0: up to the end of the file; 1: longer than 4 GB
    if end > len(content) or not content[:end].rstrip(b"\0").endswith(_END):
        refuse_truncated(path, "its end marker is missing")
    colours = content.find(b"colr\x01", 0, start)  # enumerated, and not a profile
    space = int.from_bytes(content[colours + 7 : colours + 11])
    if colours > 0 and space not in _JPEG2000_SPACES:
        raise InputError(f"{path} has JPEG 2000's colour space {space}; expected grey or RGB: save it as greyscale")
    _open(path, Jpeg2KImageFile, content).close()
    values = imagecodecs.jpeg2k_decode(content)  # Pillow cuts 16-bit colour down to 8
    return Pixels(values, alpha=values.ndim == 3 and values.shape[2] in (2, 4), lossy="JPEG 2000")


Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), read_png)
Format("BMP", (".bmp",), (b"BM",), read_bmp)
Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), read_jpeg)
Format("JPEG 2000", (".jp2",), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), read_jpeg2000)
