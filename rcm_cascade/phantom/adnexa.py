"""What opens through the skin: follicle pits, lozenge-shaped openings, eccrine ducts, hairs."""

import numpy as np

from rcm_cascade.phantom.canvas import Array, Canvas, Ribbon, sides
from rcm_cascade.phantom.contact import Contact
from rcm_cascade.phantom.fields import Float, step
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.wrinkles import STEP_UM, waver

PIT_UM, PIT_LIMITS_UM = 150.0, (100.0, 250.0)
"""Median and range of a follicle pit's diameter."""


def _places(rng: np.random.Generator, recipe: Recipe, per_mm2: float, reach_um: float) -> Array:
    """Points ``(N, 2)`` in and round the mosaic, µm (y, x)."""
    size = np.array(recipe.size_um) + 2 * reach_um
    count = int(rng.poisson(per_mm2 * size[0] * size[1] / 1e6))
    return rng.random((count, 2)) * size - reach_um


def _touching(contact: Contact, places: Array) -> Array:
    """Those of the places that are in contact; nothing is seen of the others."""
    touching: Array = places[contact.beyond.at(places) < 0]
    return touching


def draw_pits(
    recipe: Recipe, contact: Contact, dark: Canvas, bright: Canvas, hidden: Canvas, rng: np.random.Generator
) -> None:
    """Black holes of 100–250 µm with an uneven edge, many with layered keratin along it."""
    for centre in _touching(contact, _places(rng, recipe, recipe.patient.follicles, 150)):
        low, high = PIT_LIMITS_UM
        radius = float(np.exp(rng.normal(np.log(PIT_UM), 0.25)).clip(low, high)) / 2
        stretch, turn = np.exp(rng.normal(0, 0.12)), rng.uniform(0, np.pi)
        bends, phases = 0.14 * rng.standard_normal(5) / np.arange(2, 7), rng.uniform(0, 2 * np.pi, 5)
        edge = float(rng.uniform(3, 14))
        rim, lit, layers = float(rng.gamma(1.2, 0.6)), rng.uniform(0, 2 * np.pi), int(rng.integers(0, 4))
        plug = float(rng.gamma(1.0, 0.7)) if rng.random() < 0.25 else 0.0
        spot = dark.spot(centre, 2 * radius + 60)
        if spot is None:
            continue
        along, across = _turned(spot.y, spot.x, float(turn))
        angle = np.arctan2(across, along)
        bend = sum(
            np.float32(size) * np.cos(order * angle + np.float32(phase))
            for order, size, phase in zip(range(2, 7), bends, phases, strict=True)
        )
        away = np.hypot(along * np.float32(stretch), across / np.float32(stretch)) * np.exp(bend)
        inside = step(away, radius, edge)
        dark.cover(spot.rows, spot.columns, 0.98 * (1 - inside))
        hidden.cover(spot.rows, spot.columns, np.asarray(away < radius, np.float32))
        side = np.float32(0.5) + np.float32(0.5) * np.cos(angle - np.float32(lit))
        rings = np.exp(-np.square((away - radius - 7) / 9)) * side
        for layer in range(layers):
            rings += 0.5 * np.exp(-np.square((away - radius * (0.85 - 0.2 * layer)) / 3)) * side**3
        rings += plug * np.exp(-np.square(away / (0.35 * radius)))
        bright.cover(spot.rows, spot.columns, np.asarray(rim * rings, np.float32))


def draw_openings(recipe: Recipe, contact: Contact, bright: Canvas, hidden: Canvas, rng: np.random.Generator) -> None:
    """Bright lozenges, a few hundred µm long, pointed at both ends, many with a dark slit or brighter edges."""
    for centre in _touching(contact, _places(rng, recipe, recipe.patient.openings, 300)):
        length = float(np.exp(rng.normal(np.log(280), 0.3)).clip(140, 550))
        breadth = length * rng.uniform(0.24, 0.42)
        direction = recipe.patient.wrinkle_direction + rng.normal(0, 0.25)
        value, bow = float(np.exp(rng.normal(0.75, 0.35))), rng.normal(0, 0.12)
        slit, edge = float(rng.random()), float(rng.random())
        phases = rng.uniform(0, 2 * np.pi, 4)
        spot = bright.spot(centre, 0.75 * length)
        if spot is None:
            continue
        along, across = _turned(spot.y, spot.x, float(direction))
        along, across = along / np.float32(length / 2), across / np.float32(breadth / 2)
        across = across + np.float32(bow) * (along**2 - 0.3) * np.float32(length / breadth)
        uneven = sum(
            np.float32(0.07) * np.cos(np.float32(order) * along + np.float32(phase) + across)
            for order, phase in zip((3, 5, 8, 13), phases, strict=True)
        )
        inside = 1 - np.abs(along) ** 1.3 - np.abs(across) + uneven
        filled = step(inside, 0.12, 0.12)
        light = filled * (0.55 + 0.45 * np.clip(1.6 * inside, 0, 1)) + 0.5 * edge * np.exp(
            -np.square((inside - 0.14) / 0.1)
        )
        light *= 1 - 0.8 * slit * np.exp(-np.square(across / 0.16)) * step(inside, 0.3, 0.15)
        bright.cover(spot.rows, spot.columns, np.asarray(value * light, np.float32))
        if breadth > 60:
            hidden.cover(spot.rows, spot.columns, np.asarray(inside > 0.1, np.float32))


def draw_ducts(recipe: Recipe, contact: Contact, dark: Canvas, bright: Canvas, rng: np.random.Generator) -> None:
    """Eccrine ducts: bright round spots of 30–50 µm, in focus a spiral round a dark lumen."""
    for centre in _touching(contact, _places(rng, recipe, recipe.patient.ducts, 60)):
        radius, value = rng.uniform(15, 25), float(np.exp(rng.normal(0.55, 0.4)))
        turn, sense, wound = rng.uniform(0, 2 * np.pi), rng.choice((-1, 1)), float(rng.random())
        spot = bright.spot(centre, 2.2 * radius)
        if spot is None:
            continue
        away = np.hypot(spot.y, spot.x)
        angle = np.arctan2(spot.y, spot.x) * np.float32(sense) + np.float32(turn)
        pitch = np.float32(radius / 2.1)
        coil = np.exp(-np.square(((away / pitch - angle / np.float32(2 * np.pi) + 0.5) % 1 - 0.5) / 0.2))
        body = 1 - step(away, radius, 2.5)
        ring = np.exp(-np.square((away - 0.7 * radius) / (0.25 * radius)))
        light = body * (0.25 + wound * coil) + (1 - wound) * ring + 0.3 * np.exp(-np.square(away / (1.3 * radius)))
        bright.cover(spot.rows, spot.columns, np.asarray(value * light, np.float32))
        dark.cover(spot.rows, spot.columns, np.asarray(0.75 * (1 - step(away, 1.15 * radius, 4.0)), np.float32))


class Hairs:
    """Bright shafts of 50–100 µm, mm long, slightly bent, each with a dark shadow beside and under it.

    Attributes:
        shadows: lines and their darkness, under the shafts too.
        shafts: lines and their reflectance.
        hidden: lines of shaft and shadow together.
    """

    def __init__(self, recipe: Recipe, rng: np.random.Generator) -> None:
        self.shadows: list[tuple[Ribbon, float]] = []
        self.shafts: list[tuple[Ribbon, float]] = []
        self.hidden: list[Ribbon] = []
        lean = rng.uniform(0, 2 * np.pi)  # hairs of a place lie one way
        for start in _places(rng, recipe, recipe.patient.hairs, 1000):
            self._add(rng, start, float(lean + rng.normal(0, 0.4)))

    def _add(self, rng: np.random.Generator, start: Array, direction: float) -> None:
        length = float(np.exp(rng.normal(np.log(3200), 0.35)).clip(1200, 6000))
        count = int(length / STEP_UM)
        place = np.arange(count) * STEP_UM
        bend = rng.normal(0, 0.25) * place / 1000 + 0.12 * waver(rng, count, 700)[0]
        heading = direction + bend
        points = start + STEP_UM * np.cumsum(np.stack([np.sin(heading), np.cos(heading)], -1), axis=0)
        taper = np.minimum(1, np.minimum(place + 40, place[::-1] + 40) / 200)
        half: Array = rng.uniform(25, 50) * (1 - 0.35 * place / length) * taper
        value, across = float(np.exp(rng.normal(0.75, 0.4))), sides(points)
        offset = float(rng.choice((-1, 1)) * rng.uniform(0.6, 1.5))
        shadow = points + offset * half[:, None] * across
        wide = half * rng.uniform(1.2, 1.9) * np.exp(0.12 * waver(rng, count, 180)[0])
        self.shadows.append((Ribbon(shadow, across, wide, wide), float(rng.uniform(0.8, 0.97))))
        # nothing is seen through the shaft either
        self.shadows.append((Ribbon(points, across, half, half), 0.9))
        self.shafts.append((Ribbon(points, across, half, half), 0.5 * value))
        self.hidden += [Ribbon(shadow, across, wide, wide), Ribbon(points, across, half, half)]
        for _ in range(7):  # the cuticle glints in streaks along the shaft
            first, extent = int(rng.integers(count)), int(rng.integers(45, 270))
            part = slice(first, first + extent)
            if len(points[part]) < 4:
                continue
            shift = rng.uniform(-0.8, 0.8) * half[part]
            thin = rng.uniform(0.06, 0.3) * half[part] * np.sin(np.linspace(0.1, np.pi - 0.1, len(points[part])))
            glint = Ribbon(points[part] + across[part] * shift[:, None], across[part], thin, thin)
            self.shafts.append((glint, value * float(rng.uniform(0.8, 2.5))))


def _turned(y: Float, x: Float, direction: float) -> tuple[Float, Float]:
    """Coordinates along and across a direction."""
    cosine, sine = np.float32(np.cos(direction)), np.float32(np.sin(direction))
    along: Float = x * cosine + y * sine
    across: Float = y * cosine - x * sine
    return along, across
