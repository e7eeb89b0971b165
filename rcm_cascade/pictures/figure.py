"""Figures: panels side by side with titles, scale bar, legend and caption."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from rcm_cascade.classes import UNLABELLED_COLOR, ClassTable

INK: Final = "#1a1a1a"
FRAME: Final = "#9a9a9a"


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Args:
        title: written above it.
        rgb: ``(H, W, 3)`` uint8.
    """

    title: str
    rgb: NDArray[np.uint8]


def compose(
    panels: Sequence[Panel],
    classes: ClassTable,
    *,
    pixel_size_um: float | None,
    caption: str = "",
    unlabelled: bool = True,
    columns: int | None = None,
) -> Image.Image:
    """A figure on white: panels in a row or grid, below them scale bar, legend of class colours, and caption.

    Args:
        panels: at least one; they may differ in size.
        classes: for the legend.
        pixel_size_um: µm per pixel *as shown*; ``None`` gives a scale bar in px.
        caption: one or more sentences, wrapped.
        unlabelled: whether the legend names the colour of unlabelled pixels.
        columns: panels in a row; all of them by default.

    Raises:
        ValueError: without a panel.
    """
    columns = min(columns or len(panels), len(panels))
    widest, tallest = (max(p.rgb.shape[axis] for p in panels) for axis in (1, 0))
    # A figure is mostly seen shrunk to the width of a page: the wider it is, the larger its letters.
    size = min(28, max(12, round(max(widest / 38, tallest / 38, columns * widest / 80))))
    width = max(columns * (widest + size) - size, 28 * size)
    titles = [_text(panel.title, size, widest, bold=True) for panel in panels]
    pictures = [ImageOps.expand(Image.fromarray(panel.rgb), 1, FRAME) for panel in panels]
    blocks = []
    for start in range(0, len(panels), columns):
        rows = (
            [ImageOps.expand(image, (0, 0, max(0, widest + 2 - image.width), 0), "white") for image in row]
            for row in (titles[start : start + columns], pictures[start : start + columns])
        )
        blocks.append(_join([_join(row, size) for row in rows], size // 3, down=True))
    length, label = scale_bar(panels[0].rgb.shape[1], pixel_size_um)
    bar = ImageOps.expand(Image.new("RGB", (length, max(3, round(size / 4))), INK), (0, size // 2), "white")
    blocks.append(_join([bar, _text(label, size, width)], size // 2))
    entries = [(c.name, c.color) for c in classes.classes] + ([("unlabelled", UNLABELLED_COLOR)] if unlabelled else [])
    lines: list[list[Image.Image]] = [[]]
    for name, color in entries:
        square = ImageOps.expand(Image.new("RGB", (size, size), color), 1, FRAME)
        entry = _join([square, _text(name, size, width)], size // 2)
        if lines[-1] and sum(shown.width + size for shown in lines[-1]) + entry.width > width:
            lines.append([])
        lines[-1].append(entry)
    blocks.append(_join([_join(line, size) for line in lines], size // 3, down=True))
    if caption:
        blocks.append(_text(caption, size, width))
    return ImageOps.expand(_join(blocks, size // 2, down=True), size, "white")


def scale_bar(width: int, pixel_size_um: float | None) -> tuple[int, str]:
    """A round length (1, 2 or 5 times a power of ten) of at most a quarter of ``width`` px, and its name.

    Args:
        width: of the picture, px.
        pixel_size_um: µm per pixel as shown; ``None`` for a bar in px.

    Returns:
        Length in px, at least 1, and a label such as ``"500 µm"``, ``"2 mm"`` or ``"100 px"``.
    """
    unit = pixel_size_um or 1.0
    longest = max(width * unit / 4, unit) * (1 + 1e-9)
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    if pixel_size_um is None:
        label = f"{length:g} px"
    return max(1, round(length / unit)), label


def _join(images: Sequence[Image.Image], gap: int, *, down: bool = False) -> Image.Image:
    """Images beside each other, or below each other, on white."""
    starts = [0, *accumulate(gap + (image.height if down else image.width) for image in images)]
    across = max(image.width if down else image.height for image in images)
    sheet = Image.new("RGB", (across, starts[-1] - gap) if down else (starts[-1] - gap, across), "white")
    for start, image in zip(starts, images, strict=False):
        sheet.paste(image, (0, start) if down else (start, 0))
    return sheet


def _text(text: str, size: int, width: int, *, bold: bool = False) -> Image.Image:
    """Lines of at most ``width`` px, or of one letter."""
    font, line = _font(size, bold), round(1.35 * size)
    lines, letters = [text], len(text)
    while letters > 1 and max(map(font.getlength, lines)) > width:
        letters -= 1
        lines = textwrap.wrap(text, letters)
    sheet = Image.new("RGB", (math.ceil(max(map(font.getlength, lines))), line * len(lines)), "white")
    for i, words in enumerate(lines):
        ImageDraw.Draw(sheet).text((0, i * line), words, fill=INK, font=font)
    return sheet


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
