"""Are the phantoms like skin? The figures of four real mosaics beside those of 24 phantoms, or of a dataset folder.

Classes are measured on the painted labels, as the real areas were: wrinkles inside the lesion are left out by both.
Writes runs/phantom-texture/texture.md. Usage: python experiments/phantom/measure.py [--data FOLDER]
"""

from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from experiments.phantom.texture import (
    AREA_PERCENTILES,
    LAGS_UM,
    MOSAIC_PERCENTILES,
    AreaTexture,
    MosaicTexture,
    measure_area,
    measure_mosaic,
)
from experiments.script import run, table
from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.formats import pixel_size, read_image
from rcm_cascade.data.intensity import to_uint8
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import Dataset, MosaicEntry, read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import find_dataset

PHANTOMS: Final = ("data.phantom.mosaics=24", "data.phantom.sites=3", "data.phantom.seed=11")
OUT: Final = Path("runs/phantom-texture/texture.md")

MOSAIC_FIGURES: Final = (
    *(f"grey level, {p} %" for p in MOSAIC_PERCENTILES),
    "share < 12",
    "share ≥ 250",
    "field means, CV",
    "step between fields / mean",
    "gradient at seams / elsewhere",
    "spectral slope",
)
"""Of a `MosaicTexture`, in the order of its fields."""

AREA_FIGURES: Final = (
    *(f"grey level, {p} %" for p in AREA_PERCENTILES),
    "CV",
    "skew",
    "fine band, sd",
    "fine band, skew",
    *(f"acf at {lag} µm" for lag in LAGS_UM),
    "first minimum of acf",
    "first minimum at, µm",
)
"""Of an `AreaTexture`, in the order of its fields, of which the first, the area, is left out."""

# What follows was measured on four real mosaics of 6 × 6 mm at 8 µm, A to D; README.md describes them.
REAL_MOSAICS: Final[Mapping[str, MosaicTexture]] = {
    "A": MosaicTexture((4, 27, 47, 66, 112, 173), 0.14, 0.001, 0.29, 0.16, 1.2, -2.05),
    "B": MosaicTexture((3, 37, 51, 68, 105, 170), 0.09, 0.001, 0.22, 0.25, 1.9, -1.89),
    "C": MosaicTexture((0, 34, 60, 94, 216, 255), 0.09, 0.025, 0.41, 0.47, 2.3, -2.44),
    "D": MosaicTexture((0, 31, 72, 111, 231, 255), 0.14, 0.028, 0.43, 0.38, 2.5, -2.44),
}
UNKNOWN: Final = (np.nan, np.nan, np.nan)
A_RING = AreaTexture(np.nan, (25, 59, 127), 0.42, 0.9, 0.18, 0.5, (0.54, 0.26, 0.17, 0.08), -0.02, 112)
A_NON_LESION = AreaTexture(np.nan, (8, 51, 103), 0.44, 1.0, 0.19, 1.3, (0.76, 0.54, 0.40, 0.18), -0.03, 120)
A_ARTIFACT = AreaTexture(np.nan, UNKNOWN, 0.96, 7, 0.42, 7, (0.73, 0.50, 0.35, 0.17), -0.01, 184)
B_HOLES = AreaTexture(np.nan, UNKNOWN, 0.44, -0.2, 0.19, -0.3, (0.54, 0.36, 0.23, 0.06), -0.01, 168)
B_GREY = AreaTexture(np.nan, UNKNOWN, 0.35, 1.4, 0.13, 0.8, (0.41, 0.27, 0.20, 0.10), -0.02, 128)
C_BLURRED = AreaTexture(np.nan, UNKNOWN, 0.63, 1.1, 0.22, 1.8, (0.78, 0.66, 0.57, 0.40), 0, 256)
D_CLODS = AreaTexture(np.nan, UNKNOWN, 0.67, 1.1, 0.23, 1.3, (0.74, 0.62, 0.52, 0.33), -0.05, 136)
REAL_AREAS: Final[Mapping[str, Mapping[str, AreaTexture]]] = {
    "non-lesion": {"A non-lesion, with its wrinkles": A_NON_LESION, "B faint grey field": B_GREY},
    "artifact": {"A artifact": A_ARTIFACT},
    "meshwork": {"B field of dark holes": B_HOLES},
    "ring": {"A ring": A_RING},
    "nested": {"D packed clods": D_CLODS},
    "patternless": {"B faint grey field": B_GREY, "C blurred, low contrast": C_BLURRED},
}
DEEPEST_RING: Final = -0.05
"""No real field has a deeper first minimum of the autocorrelation."""


def main(data: Path | None = None) -> None:
    dataset = read_dataset(data or find_dataset(compose_config(PHANTOMS).data))
    measured = [measure(dataset, entry) for entry in dataset.entries]
    figures = {}
    for area in ("mosaic", *dataset.classes.names):
        found = [areas[area] for areas, _ in measured if area in areas]
        if found:
            figures[area] = pd.DataFrame(found)
    shares = pd.DataFrame([shares for _, shares in measured])
    report = markdown(figures, shares, f"{len(measured)} mosaics of {dataset.name}")
    write_text(OUT, report)
    print(report)


def measure(data: Dataset, entry: MosaicEntry) -> tuple[dict[str, pd.Series], dict[str, float]]:
    """Measures a mosaic.

    Returns:
        Its figures by name, of each area (a class, or ``"mosaic"``); and the share of each class, among all pixels
        where the truth is known, else among the labelled ones, and of the ``"labelled"`` pixels. Shares are empty
        without a label map.

    Raises:
        InputError: if a file cannot be read, or the mosaic has no known pixel size, fewer than 1 mm a side, or one grey
            level only.
    """
    size, _ = pixel_size(entry.image, entry.pixel_size_um, data.pixel_size_um)
    if size is None:
        raise InputError(f"the pixel size of {entry.image} is not known; add pixel_size_um to manifest.csv")
    image = to_uint8(read_image(entry.image))
    shape = (image.shape[0], image.shape[1])
    try:
        found = {"mosaic": _figures(measure_mosaic(image, size))}
    except InputError as error:
        raise InputError(f"{entry.image}: {error}") from None
    shares: dict[str, float] = {}
    if entry.label is not None:
        labels = read_labels(entry.label, data.classes, shape)
        for id_, name in enumerate(data.classes.names):
            area = measure_area(image, labels == id_, size)
            if area is not None:
                found[name] = _figures(area)
        truth = data.root / "truth" / f"{entry.image.stem}.png"
        known = read_labels(truth, data.classes, shape) if data.synthetic and truth.is_file() else labels
        counts = np.bincount(known.reshape(-1), minlength=256)[: len(data.classes)]
        shares = dict(zip(data.classes.names, (counts / max(1, counts.sum())).tolist(), strict=True))
        shares["labelled"] = float((labels != UNLABELLED).mean())
    return found, shares


def _figures(found: MosaicTexture | AreaTexture) -> pd.Series:
    """By the names that the tables use."""
    if isinstance(found, MosaicTexture):
        return pd.Series(np.hstack(astuple(found)), MOSAIC_FIGURES)
    return pd.Series(np.hstack(astuple(found)[1:]), AREA_FIGURES)


def markdown(figures: Mapping[str, pd.DataFrame], shares: pd.DataFrame, name: str) -> str:
    """The whole report.

    Args:
        figures: by area, a row a mosaic that has it; NaN where a figure is not defined.
        shares: as `measure` gives them, a row a mosaic.
        name: what was measured.
    """
    parts = [
        f"{name}. Median [10th–90th percentile over mosaics]; ✗ marks a miss: of whole "
        "mosaics, a median outside the range of A–D; of a class, a real value outside the mosaics' middle 80 %. "
        "Classes are measured on painted labels, in mosaics with at least 1 mm² of them; shares are of all pixels "
        "where the truth is known, else of the labelled ones.",
        table(["share", "here", "real"], share_rows(shares), words=3),
    ]
    compared, missed = 0, 0
    for area, here in figures.items():
        textures = REAL_MOSAICS if area == "mosaic" else REAL_AREAS.get(area, {})
        real = pd.DataFrame({name: _figures(texture) for name, texture in textures.items()}, here.columns)
        median, low, high = (here.quantile(share) for share in (0.5, 0.1, 0.9))
        misses = real.lt(low, axis=0) | real.gt(high, axis=0)
        outside = pd.Series(False, here.columns)
        if area == "mosaic":  # of which the median is held against all, and not each against the middle 80 %
            outside, misses = (median < real.min(axis=1)) | (median > real.max(axis=1)), misses & False
        compared += len(here.columns) if area == "mosaic" else int(real.notna().sum().sum())
        missed += int(outside.sum() + misses.sum().sum())
        rows = []
        for figure in map(str, here):
            digits = _digits(figure)
            told = [_number(value[figure], digits) for value in (median, low, high)]
            cells = [_number(real[name][figure], digits) + " ✗" * bool(misses[name][figure]) for name in real]
            rows.append([figure, f"{told[0]} [{told[1]}, {told[2]}]" + " ✗" * bool(outside[figure]), *cells])
        parts.append(table([f"{area}, {len(here)} mosaics", "here", *real], rows, words=2 + len(real.columns)))
    parts.append(_ring_verdict(figures))
    parts.append(f"{missed} of {compared} comparisons missed.")
    return "\n\n".join(parts) + "\n"


def share_rows(shares: pd.DataFrame) -> list[list[str]]:
    """How much of the mosaics is what, beside what was published of real ones."""
    if shares.empty:
        return []
    known = shares.dropna()
    rows = [["labelled", _percent(known["labelled"]), "58 %"]]
    if {"non-lesion", "artifact"} <= set(known):
        artifact, tissue = known["artifact"], 1 - known["artifact"]
        lesion = ((tissue - known["non-lesion"]) / tissue)[artifact < 1]
        quarter, tenth, most = artifact.quantile([0.75, 0.9, 1]) * 100
        few, many = (artifact < 0.10).mean() * 100, (artifact > 0.25).mean() * 100
        rows += [
            ["lesion, of what is no artifact", _percent(lesion), "74 ± 24 %"],
            ["artifact", _percent(artifact), "8 %"],
            ["artifact, 75th and 90th percentile, most", f"{quarter:.1f}, {tenth:.1f}, {most:.1f} %", "–"],
            ["mosaics with < 10 % and > 25 % artifact", f"{few:.0f} %, {many:.0f} %", "75 %, about 10 %"],
        ]
    names = [name for name in map(str, known) if name not in ("artifact", "labelled")]
    return rows + [[name, _percent(known[name]), "–"] for name in names]


def _percent(shares: pd.Series) -> str:
    return f"{shares.mean() * 100:.1f} ± {shares.std(ddof=0) * 100:.1f} %"


def _digits(figure: str) -> int:
    if figure.startswith("grey") or figure.endswith(", µm"):
        return 0
    return 3 if figure.startswith(("share", "first")) else 2


def _ring_verdict(figures: Mapping[str, pd.DataFrame]) -> str:
    if "ring" not in figures:
        return "No mosaic has a ring area of 1 mm²."
    least = figures["ring"]["first minimum of acf"].min()
    deeper = "no deeper than" if least >= DEEPEST_RING else "DEEPER than"
    told, bound = _number(least, 3), _number(DEEPEST_RING, 2)
    return f"Deepest first minimum of the autocorrelation in a mosaic's ring area: {told}, {deeper} {bound}."


def _number(value: float, digits: int) -> str:
    """Without the zero before the point."""
    text = "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 1 and digits else text


if __name__ == "__main__":
    run(main)
