"""PNG: lossless, and every browser and journal takes it."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rcm_cascade.files import written_whole

COMPRESS_LEVEL: Final = 2
"""Of zlib. Pictures of mosaics are noise to it: 2 takes a quarter of the default's time and makes a smaller file."""


def png_data_uri(image: Image.Image | NDArray[np.uint8]) -> str:
    """A picture as ``data:image/png;base64,…``, for pages that need no other file."""
    return "data:image/png;base64," + base64.b64encode(_png(image)).decode("ascii")


def save_png(image: Image.Image | NDArray[np.uint8], path: str | Path, text: Mapping[str, str] | None = None) -> None:
    """Writes a PNG whole or not at all.

    Args:
        image: a PIL image, or uint8 ``(H, W)`` or ``(H, W, 3)``.
        path: an existing file is replaced; its folder is made if need be.
        text: of the PNG's text chunks, by keyword.
    """
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(_png(image, text))


def _png(image: Image.Image | NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    buffer, info = io.BytesIO(), PngInfo()
    for keyword, words in (text or {}).items():
        info.add_text(keyword, words)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, format="PNG", compress_level=COMPRESS_LEVEL, pnginfo=info)
    return buffer.getvalue()
