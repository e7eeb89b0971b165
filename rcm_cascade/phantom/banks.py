"""The keratin of wrinkles and furrows: banks, bright stretches beside them, bright lines at their base."""

import numpy as np

from rcm_cascade.phantom.canvas import Array, Ribbon
from rcm_cascade.phantom.wrinkles import Line, waver


def bright_stretches(rng: np.random.Generator, line: Line) -> list[tuple[Ribbon, float]]:
    """Keratin in short stretches beside a line, brighter the wider it is: lines and values."""
    drawn = []
    for _ in range(int(rng.poisson(line.length_um / 330))):
        side, reach, glow = int(rng.choice((-1, 1))), rng.uniform(0, 4), float(np.exp(rng.normal(0.35, 0.5)))
        piece = line.piece(rng, 50, 300)
        if piece is None:
            continue
        ribbon = piece.ribbon
        near = ribbon.left if side > 0 else ribbon.right
        lens = _lens(len(piece.points)) * np.exp(0.25 * waver(rng, len(piece.points), 20)[0])
        half = (rng.uniform(2.5, 7) + 0.06 * piece.width) * lens
        points = piece.points + side * ribbon.across * (near + half + reach)[:, None]
        drawn.append((Ribbon(points, ribbon.across, half, half), glow * min(1.6, 0.7 + float(piece.width.mean()) / 60)))
    return drawn


def bank_lines(rng: np.random.Generator, line: Line) -> list[Ribbon]:
    """The banks of a furrow, or of a wrinkle's wide stretches, under the dark of the line itself."""
    drawn = []
    for part in [line] if line.bank else line.wide_stretches():
        count, reach = len(part.points), line.bank or rng.uniform(8, 26)
        extent = reach * _lens(count) * np.exp(0.7 * waver(rng, count, 240, 2) + 0.2 * waver(rng, count, 30, 2))
        ribbon = part.ribbon
        drawn.append(Ribbon(ribbon.points, ribbon.across, ribbon.left + extent[0], ribbon.right + extent[1]))
    return drawn


def base_lines(rng: np.random.Generator, line: Line) -> list[tuple[Ribbon, float]]:
    """Thin bright lines where the base of a wide valley is in focus: lines and values."""
    drawn = []
    for part in line.wide_stretches():
        for _ in range(int(rng.poisson(part.length_um / 700))):
            place, glow = rng.uniform(-0.8, 0.8), float(np.exp(rng.normal(-0.6, 0.6)))
            piece = part.piece(rng, 100, 500)
            if piece is None:
                continue
            count = len(piece.points)
            share = place + 0.35 * waver(rng, count, 200)[0] + 0.06 * waver(rng, count, 40)[0]
            ribbon = piece.ribbon
            offset = np.where(share > 0, ribbon.left, ribbon.right) * share.clip(-0.95, 0.95)
            half = rng.uniform(2, 4.5) * _lens(count) * np.exp(0.4 * waver(rng, count, 25)[0])
            points = piece.points + ribbon.across * offset[:, None]
            drawn.append((Ribbon(points, ribbon.across, half, half), glow))
    return drawn


def _lens(count: int) -> Array:
    """Widths that grow from next to nothing and shrink again, ``(count,)``."""
    result: Array = np.sin(np.linspace(0.1, np.pi - 0.1, count)) ** 0.7
    return result
