"""Figures: panels side by side with titles, scale bar, legend and caption."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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
    if not panels:
        raise ValueError("there is no panel to compose; expected at least one")
    columns = columns or len(panels)
    cell = max(p.rgb.shape[1] for p in panels)
    columns = min(columns, len(panels))
    # A figure is mostly seen shrunk to the width of a page: the wider it is, the larger its letters.
    tallest = max(p.rgb.shape[0] for p in panels)
    size = min(28, max(12, round(max(max(cell, tallest) / 38, columns * cell / 80))))
    gap, line = size, round(1.5 * size)
    width = max(columns * cell + (columns + 1) * gap, 30 * size)
    titles = [_wrap(panel.title, _font(size, bold=True), cell) for panel in panels]
    words = _wrap(caption, _font(size), width - 2 * gap) if caption else []
    entries = [(c.name, c.color) for c in classes.classes] + ([("unlabelled", UNLABELLED_COLOR)] if unlabelled else [])
    # Drawn on a sheet that is tall enough in any case, and cut off below what was drawn.
    text_height = line * (sum(map(len, titles)) + len(words) + len(entries) + 2)
    sheet = Image.new("RGB", (width, sum(p.rgb.shape[0] + 2 * gap for p in panels) + text_height + 4 * gap), "white")
    draw = ImageDraw.Draw(sheet)

    top = gap
    for start in range(0, len(panels), columns):
        row, named = panels[start : start + columns], titles[start : start + columns]
        below = top + max(map(len, named)) * round(1.35 * size) + size // 3
        for i, (panel, lines) in enumerate(zip(row, named, strict=True)):
            left, (height, across) = gap + i * (cell + gap), panel.rgb.shape[:2]
            _draw_lines(draw, lines, left, top, _font(size, bold=True))
            sheet.paste(Image.fromarray(panel.rgb), (left, below))
            draw.rectangle((left - 1, below - 1, left + across, below + height), outline=FRAME)
        top = below + max(p.rgb.shape[0] for p in row) + gap

    length, label = scale_bar(panels[0].rgb.shape[1], pixel_size_um)
    middle, thick = top + line // 2, max(3, round(size / 4))
    draw.rectangle((gap, middle - thick // 2, gap + length - 1, middle - thick // 2 + thick - 1), fill=INK)
    draw.text((gap + length + size // 2, middle), label, fill=INK, font=_font(size), anchor="lm")
    top = _draw_legend(draw, entries, gap, top + line, width, _font(size))
    if words:
        top += size // 3
        _draw_lines(draw, words, gap, top, _font(size))
        top += len(words) * round(1.35 * size)
    return sheet.crop((0, 0, width, top + gap))


def scale_bar(width: int, pixel_size_um: float | None) -> tuple[int, str]:
    """A round length (1, 2 or 5 times a power of ten) of at most a quarter of ``width`` px, and its name.

    Args:
        width: of the picture, px.
        pixel_size_um: µm per pixel as shown; ``None`` for a bar in px.

    Returns:
        Length in px, at least 1, and a label such as ``"500 µm"``, ``"2 mm"`` or ``"100 px"``.
    """
    unit = pixel_size_um or 1.0
    longest = max(width * unit / 4, unit)
    power = 10.0 ** math.floor(math.log10(longest) + 1e-9)
    length = max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))
    if pixel_size_um is None:
        label = f"{length:g} px"
    elif length >= 1000:
        label = f"{length / 1000:g} mm"
    else:
        label = f"{length:g} µm"
    return max(1, round(length / unit)), label


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], left: int, top: int, font: ImageFont.FreeTypeFont
) -> None:
    for i, line in enumerate(lines):
        draw.text((left, top + i * round(1.35 * font.size)), line, fill=INK, font=font)


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    entries: Sequence[tuple[str, str]],
    gap: int,
    top: int,
    width: int,
    font: ImageFont.FreeTypeFont,
) -> int:
    """Draws names beside squares of their colours, in as many lines as it takes; returns where they end."""
    size = int(font.size)
    line, left = round(1.5 * size), gap
    for name, color in entries:
        length = round(1.5 * size + font.getlength(name))
        if left > gap and left + length > width - gap:
            left, top = gap, top + line
        middle = top + line // 2
        draw.rectangle((left, middle - size // 2, left + size, middle - size // 2 + size), fill=color, outline=FRAME)
        draw.text((left + round(1.5 * size), middle), name, fill=INK, font=font, anchor="lm")
        left += length + round(1.4 * size)
    return top + line


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines of at most ``width`` px; a word that is longer by itself is cut."""
    lines = [""]
    for word in text.split():
        while len(word) > 1 and font.getlength(word) > width:
            cut = next((n for n in range(len(word) - 1, 1, -1) if font.getlength(word[:n]) <= width), 1)
            lines += [word[:cut], ""]
            word = word[cut:]
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) > width:
            lines.append(word)
        else:
            lines[-1] = joined
    return [line for line in lines if line] or [""]
