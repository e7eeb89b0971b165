"""Figures: panels side by side with titles, scale bar, legend and caption."""

import math
from collections.abc import Callable, Sequence
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
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    cell = max(p.rgb.shape[1] for p in panels)
    columns = min(columns, len(panels))
    # A figure is mostly seen shrunk to the width of a page: the wider it is, the larger its letters.
    tallest = max(p.rgb.shape[0] for p in panels)
    size = min(28, max(12, round(max(max(cell, tallest) / 38, columns * cell / 80))))
    gap, text = size, _font(size)
    width = max(columns * cell + (columns + 1) * gap, 30 * size)
    canvas = _Canvas(width, gap)

    for row in rows:
        titles = [_wrap(panel.title, _font(size, bold=True), cell) for panel in row]
        title_height = max(len(lines) for lines in titles) * round(1.35 * size)
        top = canvas.height + title_height + size // 3
        for i, (panel, lines) in enumerate(zip(row, titles, strict=True)):
            left = gap + i * (cell + gap)
            canvas.draw_lines(lines, left, canvas.height, _font(size, bold=True))
            canvas.draw_picture(panel.rgb, left, top)
        canvas.height = top + max(p.rgb.shape[0] for p in row) + gap

    bar, bar_label = scale_bar(panels[0].rgb.shape[1], pixel_size_um)
    canvas.draw_bar(bar, bar_label, gap, text)
    entries = [(c.name, c.color) for c in classes.classes]
    canvas.draw_legend(entries + ([("unlabelled", UNLABELLED_COLOR)] if unlabelled else []), gap, text)
    if caption:
        canvas.height += size // 3
        lines = _wrap(caption, _font(size), width - 2 * gap)
        canvas.draw_lines(lines, gap, canvas.height, text)
        canvas.height += len(lines) * round(1.35 * size)
    return canvas.finish(gap)


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


class _Canvas:
    """Grows downwards; `height` is where the next thing goes."""

    def __init__(self, width: int, top: int) -> None:
        self.width, self.height = width, top
        self._steps: list[Callable[[Image.Image, ImageDraw.ImageDraw], None]] = []

    def draw_lines(self, lines: Sequence[str], left: int, top: int, font: ImageFont.FreeTypeFont) -> None:
        step = round(1.35 * font.size)

        def paint(_: Image.Image, draw: ImageDraw.ImageDraw) -> None:
            for i, line in enumerate(lines):
                draw.text((left, top + i * step), line, fill=INK, font=font)

        self._steps.append(paint)

    def draw_picture(self, rgb: NDArray[np.uint8], left: int, top: int) -> None:
        def paint(canvas: Image.Image, draw: ImageDraw.ImageDraw) -> None:
            canvas.paste(Image.fromarray(rgb), (left, top))
            draw.rectangle((left - 1, top - 1, left + rgb.shape[1], top + rgb.shape[0]), outline=FRAME)

        self._steps.append(paint)

    def draw_bar(self, length: int, label: str, left: int, font: ImageFont.FreeTypeFont) -> None:
        line, thick = round(1.5 * font.size), max(3, round(font.size / 4))
        middle = self.height + line // 2

        def paint(_: Image.Image, draw: ImageDraw.ImageDraw) -> None:
            draw.rectangle((left, middle - thick // 2, left + length - 1, middle - thick // 2 + thick - 1), fill=INK)
            draw.text((left + length + font.size // 2, middle), label, fill=INK, font=font, anchor="lm")

        self._steps.append(paint)
        self.height += line

    def draw_legend(self, entries: Sequence[tuple[str, str]], gap: int, font: ImageFont.FreeTypeFont) -> None:
        size = int(font.size)
        line, left = round(1.5 * size), gap
        for name, color in entries:
            length = round(1.5 * size + font.getlength(name))
            if left > gap and left + length > self.width - gap:
                left, self.height = gap, self.height + line
            self._steps.append(_legend_entry(name, color, left, self.height + line // 2, font))
            left += length + round(1.4 * size)
        self.height += line

    def finish(self, bottom: int) -> Image.Image:
        canvas = Image.new("RGB", (self.width, self.height + bottom), "white")
        draw = ImageDraw.Draw(canvas)
        for paint in self._steps:
            paint(canvas, draw)
        return canvas


def _legend_entry(
    name: str, color: str, left: int, middle: int, font: ImageFont.FreeTypeFont
) -> Callable[[Image.Image, ImageDraw.ImageDraw], None]:
    size = int(font.size)

    def paint(_: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle((left, middle - size // 2, left + size, middle - size // 2 + size), fill=color, outline=FRAME)
        draw.text((left + round(1.5 * size), middle), name, fill=INK, font=font, anchor="lm")

    return paint


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
