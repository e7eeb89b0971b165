"""Irregular packings: points apart by their own sizes, and the rounded polygon that each claims for itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from rcm_cascade.phantom.fields import Field

ANGLES = 40
SUBPIXEL_BITS = 4


def to_subpixels(outlines_um: NDArray[np.float64], pitch_um: float) -> NDArray[np.int32]:
    """Corners ``(…, 2)`` in µm (y, x) as cv2 draws them: (x, y) in shares of a pixel, whole numbers at its centre."""
    # cv2 puts whole numbers at pixel centres, a grid puts them at corners
    corners: NDArray[np.int32] = np.rint((outlines_um[..., ::-1] / pitch_um - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    return corners


@dataclass(frozen=True)
class Cells:
    """Star-shaped cells.

    Args:
        centres: ``(N, 2)`` float64, µm (y, x).
        radii: ``(N, ANGLES)`` float64, µm, the outline's distance at equally spaced angles.
    """

    centres: NDArray[np.float64]
    radii: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centres)

    def outlines(self) -> NDArray[np.float64]:
        """Outline points ``(N, ANGLES, 2)``, µm (y, x)."""
        angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
        direction = np.stack([np.sin(angle), np.cos(angle)], -1)
        outlines: NDArray[np.float64] = self.centres[:, None] + self.radii[..., None] * direction
        return outlines

    def shrunk(self, factor: NDArray[np.float64], gap_um: NDArray[np.float64]) -> "Cells":
        """The same cells scaled by ``factor`` ``(N,)`` and drawn in by ``gap_um`` ``(N,)``, at least 2 µm in radius."""
        return Cells(self.centres, np.maximum(self.radii * factor[:, None] - gap_um[:, None], 2.0))


def scatter(
    rng: np.random.Generator,
    size_um: tuple[float, float],
    spacing_um: float,
    spread: float,
    where: Field,
    softness: float = 0.62,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points with sizes of their own, no two closer than ``softness`` times their mean size.

    Rounds of random candidates, each thinned as in Matérn's second hard-core process: gaps stay, so that there is no
    lattice.

    Args:
        rng: the stream to draw from.
        size_um: height, width of the mosaic; points lie up to one spacing outside too.
        spacing_um: mean distance of neighbours.
        spread: standard deviation of the logarithm of a point's size.
        where: points are kept where this field is above 0.
        softness: of the hard core; smaller is more irregular.

    Returns:
        Points ``(N, 2)`` µm (y, x) and sizes ``(N,)`` µm.
    """
    points = np.empty((0, 2))
    sizes = np.empty(0)
    count = int((size_um[0] + 2 * spacing_um) * (size_um[1] + 2 * spacing_um) / spacing_um**2 * 1.1) + 1
    for _ in range(4):
        new = rng.random((count, 2)) * (np.array(size_um) + 2 * spacing_um) - spacing_um
        size = spacing_um * np.exp(spread * rng.standard_normal(count).clip(-2, 2))
        keep = where.at(new) > 0
        new, size = new[keep], size[keep]
        points, sizes = _admit(points, sizes, new, size, softness)
    return points, sizes


def _admit(
    points: NDArray[np.float64],
    sizes: NDArray[np.float64],
    new: NDArray[np.float64],
    size: NDArray[np.float64],
    softness: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    everything, every_size = np.concatenate([points, new]), np.concatenate([sizes, size])
    if len(everything) < 2:
        return everything, every_size
    pairs = cKDTree(everything).query_pairs(softness * float(every_size.max()), output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]
    gap = np.linalg.norm(everything[first] - everything[second], axis=1)
    clash = gap < softness * (every_size[first] + every_size[second]) / 2
    gone = np.zeros(len(everything), bool)
    gone[np.maximum(first, second)[clash]] = True  # the later one goes: the admitted are never thrown out
    return everything[~gone], every_size[~gone]


def pack(points: NDArray[np.float64], sizes: NDArray[np.float64], roundness: float, reach: float = 0.85) -> Cells:
    """Each point's cell: its share of the way to every Delaunay neighbour, by size, corners rounded.

    Args:
        points: ``(N, 2)`` µm.
        sizes: ``(N,)`` µm; the border between two neighbours divides their distance in this ratio.
        roundness: exponent of the soft minimum over neighbours; 4 is nearly round, 20 nearly polygonal.
        reach: no outline is farther from its centre than this times its size.
    """
    limit = reach * sizes
    if len(points) < 4:
        return Cells(points, np.repeat(limit[:, None], ANGLES, 1))
    start, neighbours = Delaunay(points).vertex_neighbor_vertices
    owner = np.repeat(np.arange(len(points)), np.diff(start))
    offset = points[neighbours] - points[owner]
    distance = np.linalg.norm(offset, axis=1)
    border = distance * sizes[owner] / (sizes[owner] + sizes[neighbours])
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    toward = np.arctan2(offset[:, 0], offset[:, 1])
    closeness = np.cos(angle[None] - toward[:, None]).clip(0) / border[:, None]  # 1 / distance of the border line
    powered = np.add.reduceat(closeness**roundness, start[:-1].clip(max=len(owner) - 1), axis=0)
    powered += (1 / limit[:, None]) ** roundness
    return Cells(points, powered ** (-1 / roundness))


def stretch(cells: Cells, direction: NDArray[np.float64], factor: NDArray[np.float64]) -> Cells:
    """Draws cells out to ``factor`` ``(N,)`` times their length in ``direction`` ``(N,)`` rad, the area kept."""
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)[None] - direction[:, None]
    along, across = np.cos(angle) / np.sqrt(factor)[:, None], np.sin(angle) * np.sqrt(factor)[:, None]
    return Cells(cells.centres, cells.radii / np.hypot(along, across))


def wobble(cells: Cells, rng: np.random.Generator, amount: float | NDArray[np.float64]) -> Cells:
    """Bends each outline by a few slow waves of relative size ``amount``, one for all or ``(N,)``."""
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    bend = np.zeros_like(cells.radii)
    for order in (2, 3, 4, 5, 7):
        phase = rng.uniform(0, 2 * np.pi, (len(cells), 1))
        size = rng.standard_normal((len(cells), 1)) * np.reshape(amount, (-1, 1)) / order**0.5
        bend += size * np.cos(order * angle + phase)
    return Cells(cells.centres, cells.radii * np.exp(bend.clip(-0.5, 0.5)))
