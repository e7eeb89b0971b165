"""Pictures for people: label maps in colour, overlays, panels side by side with legend and scale bar, PNG."""

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rcm_cascade.data.atomic import written_whole
from rcm_cascade.labels import UNLABELLED, UNLABELLED_COLOR, ClassTable

INK: Final = "#1a1a1a"
FRAME: Final = "#9a9a9a"
STRIP_PIXELS: Final = 2**22
"""Whole mosaics are worked through in strips of about this many pixels, so that temporaries stay small."""


def colorize(labels: NDArray[np.uint8], classes: ClassTable) -> NDArray[np.uint8]:
    """Class colours of a label map: ``(H, W)`` uint8 to ``(H, W, 3)`` uint8 RGB; unlabelled is yellow."""
    return np.take(classes.palette(), labels, axis=0)


def grey_to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(H, W)`` uint8 grey to ``(H, W, 3)`` uint8 RGB."""
    return np.repeat(image[:, :, np.newaxis], 3, axis=2)


def blend(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], classes: ClassTable, opacity: float = 0.4
) -> NDArray[np.uint8]:
    """Class colours laid over the grey image; unlabelled pixels stay grey.

    Args:
        image: ``(H, W)`` uint8.
        labels: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        classes: the class table.
        opacity: of the colours, in ``[0, 1]``.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: if the shapes differ.
    """
    if image.shape != labels.shape:
        raise ValueError(f"image is {image.shape} and labels are {labels.shape}; expected one shape (H, W)")
    grey = np.arange(256.0)[np.newaxis, :, np.newaxis]
    opacities = np.full((256, 1, 1), opacity)
    opacities[UNLABELLED] = 0
    mixed = np.rint(grey * (1 - opacities) + classes.palette()[:, np.newaxis, :] * opacities)
    # One look-up for each pair of label and grey level: no floating copy of the mosaic.
    table: NDArray[np.uint8] = mixed.astype(np.uint8)
    result: NDArray[np.uint8] = table[labels, image]
    return result


def shrink_factor(shape: tuple[int, int], longest: int) -> int:
    """Smallest whole number ≥ 1 by which an image ``(H, W)`` must shrink for both sides to be at most ``longest`` px.

    Raises:
        ValueError: if ``longest`` is below 1.
    """
    if longest < 1:
        raise ValueError(f"longest is {longest}; expected at least 1 px")
    return max(1, math.ceil(max(shape) / longest))


def shrink_image(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Area average over blocks of ``factor`` × ``factor`` px.

    Args:
        image: ``(H, W)`` uint8.
        factor: at least 1.

    Returns:
        uint8 ``(ceil(H / factor), ceil(W / factor))``; blocks that the border cuts are averaged over what they hold.
    """
    if factor == 1:
        return image
    strips = [
        np.rint(_block_sums(strip, factor) / _block_areas(strip.shape, factor)).astype(np.uint8)
        for strip in _strips(image, factor)
    ]
    return np.concatenate(strips)


def shrink_labels(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The most frequent class among the labelled pixels of each block of ``factor`` × ``factor`` px.

    Args:
        labels: ``(H, W)`` uint8 class ids, 255 = unlabelled.
        factor: at least 1.

    Returns:
        uint8 ``(ceil(H / factor), ceil(W / factor))``; ties go to the lowest id, 255 where a block has no label.
    """
    if factor == 1:
        return labels
    strips = []
    for strip in _strips(labels, factor):
        shape = _block_areas(strip.shape, factor).shape
        winner, votes = np.full(shape, UNLABELLED, np.uint8), np.zeros(shape, np.uint32)
        present = np.bincount(strip.reshape(-1), minlength=256)[:UNLABELLED]
        for label in np.flatnonzero(present):
            count = _block_sums(strip == label, factor)
            better = count > votes
            winner[better], votes[better] = label, count[better]
        strips.append(winner)
    return np.concatenate(strips)


def _strips(image: NDArray[np.uint8], factor: int) -> Iterator[NDArray[np.uint8]]:
    rows = max(1, STRIP_PIXELS // max(1, factor * image.shape[1])) * factor
    for start in range(0, image.shape[0], rows):
        yield image[start : start + rows]


def _block_sums(values: NDArray[np.uint8] | NDArray[np.bool_], factor: int) -> NDArray[np.uint32]:
    height, width = values.shape
    down = np.add.reduceat(values, np.arange(0, height, factor), axis=0, dtype=np.uint32)
    sums: NDArray[np.uint32] = np.add.reduceat(down, np.arange(0, width, factor), axis=1)
    return sums


def _block_areas(shape: tuple[int, ...], factor: int) -> NDArray[np.int64]:
    sides = [np.minimum(factor, side - np.arange(0, side, factor)) for side in shape]
    return np.outer(sides[0], sides[1])


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


def png_data_uri(image: Image.Image | NDArray[np.uint8]) -> str:
    """A picture as ``data:image/png;base64,…``, for pages that need no other file."""
    return "data:image/png;base64," + base64.b64encode(_png(image)).decode("ascii")


def save_png(image: Image.Image | NDArray[np.uint8], path: str | Path) -> None:
    """Writes a PNG whole or not at all.

    Args:
        image: a PIL image, or uint8 ``(H, W)`` or ``(H, W, 3)``.
        path: an existing file is replaced; its folder is made if need be.
    """
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(_png(image))


def _png(image: Image.Image | NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format="PNG")
    return buffer.getvalue()
