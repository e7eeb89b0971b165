"""How coherent a label map is: its connected regions, and how many of them are too small to be a pattern."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rcm_cascade.data.intensity import count_values

SMALL_MM2: Final = 0.05
"""A region below this area holds about four dermal papillae (84 per mm²), too few for a pattern to be read."""

SMALL_PX: Final = 50_000
"""The same area at 1 µm per pixel, for mosaics of unknown pixel size."""

REGION_NUMBERS: Final = ("regions_per_area", "small_regions_share", "small_area_share")
"""What regions are summed up to; the names are those of `pool_coherence`."""


@dataclass(frozen=True)
class Coherence:
    """Connected regions of one label map, by class; sums over mosaics stay meaningful.

    Args:
        regions: number of regions, ``(C,)`` int64.
        small_regions: of these, the ones under `SMALL_MM2` (`SMALL_PX` without a pixel size).
        area_px: pixels in regions, ``(C,)`` int64.
        small_area_px: pixels in the small ones.
        pixel_size_um: of the label map, or ``None``.
    """

    regions: NDArray[np.int64]
    small_regions: NDArray[np.int64]
    area_px: NDArray[np.int64]
    small_area_px: NDArray[np.int64]
    pixel_size_um: float | None


def measure_coherence(
    labels: NDArray[np.uint8], mask: NDArray[np.bool_], num_classes: int, pixel_size_um: float | None
) -> Coherence:
    """Counts a label map's connected regions (8-neighbourhood, class by class) inside a mask.

    Prediction and truth are both measured inside the truth's labelled pixels. Only there do both exist, so the two can
    be compared; what the unlabelled gaps cut apart, they cut apart in both. For the same reason neither number is the
    count that a whole, uncut map would give.

    Args:
        labels: class ids, ``(H, W)`` uint8; ids of ``num_classes`` and above are not counted.
        mask: ``(H, W)``, the pixels assessed.
        num_classes: ``C``.
        pixel_size_um: µm per pixel of the map, or ``None``.

    Raises:
        ValueError: if the shapes differ.
    """
    limit = SMALL_PX if pixel_size_um is None else SMALL_MM2 * 1e6 / pixel_size_um**2
    counts = np.zeros((4, num_classes), np.int64)
    for label in range(num_classes):
        sizes = _region_sizes((labels == label) & mask)
        small = sizes < limit
        counts[:, label] = len(sizes), small.sum(), sizes.sum(), sizes[small].sum()
    return Coherence(counts[0], counts[1], counts[2], counts[3], pixel_size_um)


def pool_coherence(parts: Sequence[Coherence | None], names: Sequence[str]) -> dict[str, Any] | None:
    """The regions of several mosaics together, as plain numbers for `metrics.json`.

    Where some mosaics have a pixel size and some have none, only those with one are pooled: pixels and mm² do not add.

    Args:
        parts: one a mosaic; ``None`` where it was not measured.
        names: class names, in id order.

    Returns:
        ``unit`` (``"mm2"`` or ``"Mpx"``), ``small_below`` (in mm² or px), ``mosaics``, ``area``, ``regions``,
        ``regions_per_area``, ``small_regions_share``, ``small_area_share``, and ``classes`` with the same numbers by
        class; shares and densities are ``None`` where there is nothing to divide by. ``None`` without a mosaic.
    """
    measured = [p for p in parts if p is not None]
    if not measured:
        return None
    sized = sum(p.pixel_size_um is not None for p in measured)
    sums = region_sums(measured).sum(axis=0)
    totals = sums.sum(axis=1).tolist()
    assessed = totals[2]

    def numbers(regions: float, small_regions: float, area: float, small_area: float) -> dict[str, Any]:
        return {
            "area": area,
            "regions": int(regions),
            "regions_per_area": regions / assessed if assessed else None,
            "small_regions_share": small_regions / regions if regions else None,
            "small_area_share": small_area / area if area else None,
        }

    return {
        "unit": "mm2" if sized else "Mpx",
        "small_below": SMALL_MM2 if sized else SMALL_PX,
        "mosaics": sized or len(measured),
        **numbers(*totals),
        "classes": [{"name": name, **numbers(*of)} for name, of in zip(names, sums.T.tolist(), strict=True)],
    }


def region_sums(parts: Sequence[Coherence]) -> NDArray[np.float64]:
    """Regions, small ones, area, and area of the small ones, by mosaic and class: ``(M, 4, C)``.

    Areas in mm², or in megapixels where no mosaic has a pixel size. Where some have one, the others count nothing.
    """
    sized = any(p.pixel_size_um is not None for p in parts)
    rows = []
    for p in parts:
        unit = 1e-6 * (p.pixel_size_um or 1.0) ** 2  # mm² or megapixels in one pixel
        row = np.stack([p.regions, p.small_regions, p.area_px * unit, p.small_area_px * unit])
        rows.append(row * (p.pixel_size_um is not None or not sized))
    return np.stack(rows)


def region_numbers(sums: NDArray[Any]) -> NDArray[np.float64]:
    """`REGION_NUMBERS` of ``(…, 4)`` as `region_sums` gives them: ``(…, 3)``."""
    regions, small_regions, area, small_area = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([regions / area, small_regions / regions, small_area / area], axis=-1)
    return np.where(np.isfinite(ratios), ratios, np.nan)


def _region_sizes(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels of each connected region of ``(H, W)``."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return np.zeros(0, np.int64)
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    regions = np.empty(box.shape, np.int32)
    count = int(ndimage.label(box, np.ones((3, 3)), output=regions))
    return count_values(regions, count + 1)[1:]
