"""Writes TIFF files tag by tag, for tags and types that tifffile does not write."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORT, LONG, ASCII, RATIONAL, FLOAT, DOUBLE = 3, 4, 2, 5, 11, 12
_CODES = {SHORT: "H", LONG: "I", RATIONAL: "I", FLOAT: "f", DOUBLE: "d"}


class Tag(NamedTuple):
    """A tag: code, type, and its values; two of a rational make one."""

    code: int
    kind: int
    values: Sequence[float] | bytes


class Page(NamedTuple):
    """A page of one strip, and tags beside those that its pixels need (or in place of them)."""

    pixels: NDArray[Any]
    tags: Sequence[Tag] = ()
    bits: int = 8
    photometric: int = 1
    compression: int = 1
    strip: bytes | bytearray | None = None


def at_8_um(kind: int = RATIONAL) -> list[Tag]:
    """1250 px/cm."""
    value = (1250, 1) if kind == RATIONAL else (1250,)
    return [Tag(282, kind, value), Tag(283, kind, value), Tag(296, SHORT, [3])]


def write_raw_tiff(path: Path, *pages: Page) -> None:
    """Little-endian; each page's directory follows its pixels."""
    content, link = bytearray(b"II*\0\0\0\0\0"), 4
    for page in pages:
        strip = page.pixels.tobytes() if page.strip is None else page.strip
        height, width = page.pixels.shape[:2]
        channels = 1 if page.pixels.ndim == 2 else page.pixels.shape[2]
        tags = {
            tag.code: tag
            for tag in (
                Tag(256, LONG, [width]),
                Tag(257, LONG, [height]),
                Tag(258, SHORT, [page.bits] * channels),
                Tag(259, SHORT, [page.compression]),
                Tag(262, SHORT, [page.photometric]),
                Tag(273, LONG, [len(content)]),
                Tag(277, SHORT, [channels]),
                Tag(278, LONG, [height]),
                Tag(279, LONG, [len(strip)]),
                *page.tags,
            )
        }
        content += strip + b"\0" * (len(strip) % 2)
        struct.pack_into("<I", content, link, len(content))
        end = len(content) + 2 + 12 * len(tags) + 4
        directory, beyond = struct.pack("<H", len(tags)), b""
        for code, kind, values in (tags[code] for code in sorted(tags)):
            raw = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
            count = len(values) // (2 if kind == RATIONAL else 1)
            field = raw.ljust(4, b"\0")
            if len(raw) > 4:
                field, beyond = struct.pack("<I", end + len(beyond)), beyond + raw + b"\0" * (len(raw) % 2)
            directory += struct.pack("<HHI", code, kind, count) + field
        link = len(content) + len(directory)
        content += directory + b"\0\0\0\0" + beyond
    path.write_bytes(content)


def packed(values: NDArray[Any], bits: int) -> bytes:
    """Rows of values of less than 8 bits, the first in the highest, each row to a whole byte."""
    each = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
    return np.packbits(each.reshape(len(values), -1), axis=1).tobytes()
