"""What hides the tissue or lies across it: wrinkles, lost contact, keratin, adnexa, and faults of the scan."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.adnexa import Hairs, draw_ducts, draw_openings, draw_pits
from rcm_cascade.phantom.banks import bank_lines, base_lines, bright_stretches
from rcm_cascade.phantom.canvas import FINEST_UM, Canvas, Ribbon
from rcm_cascade.phantom.contact import Contact, draw_bubbles
from rcm_cascade.phantom.fields import Field, Float, Grid, noise
from rcm_cascade.phantom.keratin import SATURATED, Bands, draw_bands
from rcm_cascade.phantom.recipe import Recipe
from rcm_cascade.phantom.scanning import Scanning, draw_scanning
from rcm_cascade.phantom.wrinkles import Line, draw_wrinkles

LEFT_OUT_PITCH_UM, LEFT_OUT_MARGIN_UM = 8.0, 18.0
BRIGHTEST = 8.0
"""Most reflectance that is added."""

BANK = 1.9
"""Reflectance of a furrow's bank in a mosaic whose banks are 1."""


@dataclass(frozen=True)
class Artifacts:
    """Layers over the tissue.

    Args:
        dark: share of light lost in wrinkles, pits and shadows.
        bright: reflectance added by keratin, hair, ducts, contours and bubbles.
        hidden: 1 where one of these is wide enough to be artifact.
        no_contact: share of lost contact in [0, 1].
        bands: broad bright bands.
        grain: cell-sized unevenness of all that is bright.
        wrinkles: 1 in a wrinkle and a little beside it, where no expert paints.
        scanning: faults of the scan.
    """

    dark: Canvas
    bright: Canvas
    hidden: Canvas
    no_contact: Field
    bands: Bands
    grain: Field
    wrinkles: Canvas
    scanning: Scanning

    def cover(self, tissue: Float, grid: Grid, rows: slice = slice(None)) -> Float:
        """The tissue as seen behind the artifacts, on some rows of ``grid``, ``(rows, W)`` float32."""
        contact = 1 - self.no_contact.on(grid, rows)
        through = (1 - 0.99 * self.dark.on(grid, rows)) * (0.02 + 0.98 * contact)
        uneven = 1 + 0.24 * self.grain.on(grid, rows)
        seen = tissue * (1 - self.bands.veil.on(grid, rows)) + self.bands.light.on(grid, rows) * uneven
        result: Float = seen * through + self.bright.on(grid, rows) * uneven
        return result

    def mask_on(self, grid: Grid, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Where the truth is artifact, ``(rows, W)``."""
        mask: NDArray[np.bool_] = self.no_contact.on(grid, rows) > 0.5
        mask |= self.hidden.on(grid, rows) > 0.5
        mask |= self.bands.light.on(grid, rows) > SATURATED
        mask |= self.scanning.mask_on(grid, rows)
        return mask


def draw_artifacts(recipe: Recipe, grid: Grid, rng: np.random.Generator) -> Artifacts:
    """Draws all artifacts of one mosaic; ``grid`` is that of the image, they may be drawn on a coarser one."""
    line_rng, bank_rng, contact_rng, band_rng, hair_rng, pit_rng, bubble_rng, scan_rng = rng.spawn(8)
    fine = Grid.covering(recipe.size_um, max(FINEST_UM, grid.pitch_um))
    dark, hidden, bright = Canvas(fine), Canvas(fine), Canvas(fine, BRIGHTEST, power=2)
    lines, hairs = draw_wrinkles(recipe, line_rng), Hairs(recipe, hair_rng)
    wide = [part.ribbon for line in lines for part in line.wide_stretches()]
    _fill(dark, [(line.ribbon, line.darkness) for line in lines] + hairs.shadows)
    dark.soften(2.0)
    hidden.fill(wide + hairs.hidden, [1.0] * (len(wide) + len(hairs.hidden)))
    contact = Contact(recipe, contact_rng)
    _draw_keratin(recipe, lines, hairs, contact, dark, bright, bank_rng)
    draw_pits(recipe, contact, dark, bright, hidden, pit_rng)
    draw_openings(recipe, contact, bright, hidden, pit_rng)
    draw_ducts(recipe, contact, dark, bright, pit_rng)
    draw_bubbles(recipe, contact, bright, bubble_rng)
    left_out = Canvas(Grid.covering(recipe.size_um, LEFT_OUT_PITCH_UM))
    left_out.fill([_widened(line.ribbon, LEFT_OUT_MARGIN_UM) for line in lines], [1.0] * len(lines))
    return Artifacts(
        dark=dark,
        bright=bright,
        hidden=hidden,
        no_contact=contact.lost,
        bands=draw_bands(recipe, band_rng),
        grain=noise(bank_rng, recipe.size_um, 12),
        wrinkles=left_out,
        scanning=draw_scanning(recipe, scan_rng),
    )


def _draw_keratin(
    recipe: Recipe,
    lines: list[Line],
    hairs: Hairs,
    contact: Contact,
    dark: Canvas,
    bright: Canvas,
    rng: np.random.Generator,
) -> None:
    """Banks and bright stretches beside the lines, what shines inside them, and the bands out of contact."""
    broad, narrow, inside = Canvas(dark.grid), Canvas(dark.grid, 4.0), Canvas(dark.grid, BRIGHTEST)
    banks = [bank for line in lines for bank in bank_lines(rng, line)]
    broad.fill(banks, [1.0] * len(banks))
    broad.soften(11)
    _fill(narrow, [stretch for line in lines for stretch in bright_stretches(rng, line)])
    narrow.soften(3.5)
    _fill(inside, [base for line in lines for base in base_lines(rng, line)] + hairs.shafts)
    inside.soften(2)
    patches, clouds = (noise(rng, recipe.size_um, scale) for scale in (320, 50))
    for rows in dark.strips():
        grid = dark.grid
        uneven = np.exp(0.55 * clouds.on(grid, rows))
        keratin = broad.on(grid, rows) * np.exp(0.9 * patches.on(grid, rows) - 0.5) * np.float32(BANK)
        keratin += narrow.on(grid, rows)
        keratin *= (
            np.float32(recipe.banks) * uneven * (1 - dark.on(grid, rows)) * (1 - 0.9 * contact.lost.on(grid, rows))
        )
        keratin += inside.on(grid, rows)
        keratin += contact.contours(grid, rows)
        bright.put(rows, keratin)


def _fill(canvas: Canvas, drawn: list[tuple[Ribbon, float]]) -> None:
    canvas.fill([ribbon for ribbon, _ in drawn], [value for _, value in drawn])


def _widened(ribbon: Ribbon, margin_um: float) -> Ribbon:
    return replace(ribbon, left=ribbon.left + margin_um, right=ribbon.right + margin_um)
