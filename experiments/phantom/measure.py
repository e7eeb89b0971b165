"""Are the phantoms like skin? The figures of four real mosaics beside those of a set of phantoms, or of your own.

Classes are measured on the painted labels, as the real areas were: wrinkles inside the lesion are left out by both.
Usage: python experiments/phantom/measure.py [--mosaics N] [--data FOLDER] [--out FOLDER]
"""

import argparse
import csv
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import rcm_cascade.phantom
from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.formats import pixel_size, read_image, read_labels
from rcm_cascade.data.intensity import to_uint8
from rcm_cascade.data.manifest import Dataset, read_dataset
from rcm_cascade.data.texture import (
    AREA_PERCENTILES,
    LAGS_UM,
    MOSAIC_PERCENTILES,
    AreaTexture,
    MosaicTexture,
    measure_area,
    measure_mosaic,
)
from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole
from rcm_cascade.phantom import write_phantoms

Figures = Mapping[str, float]
"""By the names that the tables use."""

SEED, SITES, SIZE_MM, PIXEL_UM = 11, 3, 6.0, 8.0

# What follows was measured on four real mosaics of 6 × 6 mm at 8 µm, A to D (rcm-facts §6).
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


@dataclass(frozen=True)
class Measured:
    """What one mosaic gave.

    Args:
        mosaic: figures of the whole.
        areas: by class name, where the class has area enough.
        shares: of each class by name, among all pixels where the truth is known, else among the labelled ones.
        labelled: share of the pixels; NaN without a label map.
    """

    mosaic: MosaicTexture
    areas: Mapping[str, AreaTexture]
    shares: Mapping[str, float]
    labelled: float


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        area: a class, or ``"mosaic"``.
        figure: its name.
        values: one a mosaic.
        real: by the name of the mosaic or area.
    """

    area: str
    figure: str
    values: NDArray[np.float64]
    real: Mapping[str, float]

    @property
    def middle(self) -> tuple[float, float, float]:
        """Median, 10th and 90th percentile over mosaics, those without the figure left out."""
        known = self.values[~np.isnan(self.values)]
        if not len(known):
            return np.nan, np.nan, np.nan
        median, low, high = np.percentile(known, [50, 10, 90])
        return float(median), float(low), float(high)

    def misses(self) -> list[str]:
        """Names of the real values missed: the median leaves their range, or they the middle 80 % of mosaics."""
        median, low, high = self.middle
        if self.area == "mosaic":
            return [] if min(self.real.values()) <= median <= max(self.real.values()) else ["A–D"]
        return [name for name, value in self.real.items() if value < low or value > high]


def mosaic_figures(found: MosaicTexture) -> Figures:
    """Figures of a mosaic by the names that the tables use."""
    return {
        **{f"grey level, {p} %": value for p, value in zip(MOSAIC_PERCENTILES, found.percentiles, strict=True)},
        "share < 12": found.black,
        "share ≥ 250": found.saturated,
        "field means, CV": found.field_variation,
        "step between fields / mean": found.field_step,
        "gradient at seams / elsewhere": found.seam,
        "spectral slope": found.slope,
    }


def area_figures(found: AreaTexture) -> Figures:
    """Figures of an area by the names that the tables use."""
    return {
        **{f"grey level, {p} %": value for p, value in zip(AREA_PERCENTILES, found.percentiles, strict=True)},
        "CV": found.variation,
        "skew": found.skew,
        "fine band, sd": found.fine_spread,
        "fine band, skew": found.fine_skew,
        **{f"acf at {lag} µm": value for lag, value in zip(LAGS_UM, found.autocorrelation, strict=True)},
        "first minimum of acf": found.first_minimum,
        "first minimum at, µm": found.first_minimum_um,
    }


def make_set(out: Path, mosaics: int, processes: int | None) -> Path:
    """A folder of phantoms under ``out``; one that this very generator has made already is taken as it is."""
    source = Path(rcm_cascade.phantom.__file__).parent
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.glob("*.py")))).hexdigest()[:8]
    folder = out / f"set-{SEED}-{mosaics}-{code}"
    if not folder.exists():
        size = (SIZE_MM, SIZE_MM)
        sites = min(SITES, mosaics)
        write_phantoms(
            folder, mosaics=mosaics, size_mm=size, pixel_size_um=PIXEL_UM, seed=SEED, sites=sites, processes=processes
        )
    return folder


def measure_set(data: Dataset) -> list[Measured]:
    """Measures every mosaic of a data set.

    Raises:
        InputError: if a file cannot be read, or a mosaic has no known pixel size, fewer than 1 mm a side, or one grey
            level only.
    """
    names = data.classes.names
    results = []
    for entry in data.entries:
        size, _ = pixel_size(entry.image, entry.pixel_size_um, data.pixel_size_um)
        if size is None:
            raise InputError(f"the pixel size of {entry.image} is not known; add pixel_size_um to manifest.csv")
        image = to_uint8(read_image(entry.image))
        shape = (image.shape[0], image.shape[1])
        try:
            whole = measure_mosaic(image, size)
        except InputError as error:
            raise InputError(f"{entry.image}: {error}") from None
        areas, shares, labelled = {}, {}, np.nan
        if entry.label is not None:
            labels = read_labels(entry.label, data.classes, shape)
            labelled = float((labels != UNLABELLED).mean())
            areas = {name: measure_area(image, labels == id_, size) for id_, name in enumerate(names)}
            path = data.root / "truth" / f"{entry.image.stem}.png"
            known = read_labels(path, data.classes, shape) if data.synthetic and path.is_file() else labels
            counts = np.bincount(known.reshape(-1), minlength=256)[: len(names)]
            shares = dict(zip(names, (counts / max(1, counts.sum())).tolist(), strict=True))
        results.append(Measured(whole, {name: a for name, a in areas.items() if a is not None}, shares, labelled))
    return results


def make_rows(measured: Sequence[Measured], classes: Sequence[str]) -> list[Row]:
    """All figures, those of whole mosaics first, then class by class, those without an area left out."""
    figures = [mosaic_figures(m.mosaic) for m in measured]
    real = {name: mosaic_figures(texture) for name, texture in REAL_MOSAICS.items()}
    rows = [_row("mosaic", figure, figures, real) for figure in figures[0]]
    for name in classes:
        figures = [area_figures(m.areas[name]) for m in measured if name in m.areas]
        real = {area: area_figures(texture) for area, texture in REAL_AREAS.get(name, {}).items()}
        rows += [_row(name, figure, figures, real) for figure in (figures[0] if figures else {})]
    return rows


def _row(area: str, figure: str, figures: Sequence[Figures], real: Mapping[str, Figures]) -> Row:
    known = {name: values[figure] for name, values in real.items() if not np.isnan(values[figure])}
    return Row(area, figure, np.array([values[figure] for values in figures], np.float64), known)


def share_lines(measured: Sequence[Measured]) -> list[str]:
    """How much of the mosaics is what, beside rcm-facts §4.2, as Markdown."""
    labelled = np.array([m.labelled for m in measured])
    held = [m.shares for m in measured if m.shares]
    lines = ["| share | here | real |", "|---|---|---|"]
    lines.append(f"| labelled | {_percent(labelled[~np.isnan(labelled)])} | 58 % |")
    if held and {"non-lesion", "artifact"} <= held[0].keys():
        artifact = np.array([shares["artifact"] for shares in held])
        skin = np.array([shares["non-lesion"] for shares in held])
        lesion = (1 - artifact - skin)[artifact < 1] / (1 - artifact)[artifact < 1]
        lines.append(f"| lesion, of what is no artifact | {_percent(lesion)} | 74 ± 24 % |")
        lines.append(f"| artifact | {_percent(artifact)} | 8 % |")
        quarter, tenth = np.percentile(artifact, [75, 90]) * 100
        most = artifact.max() * 100
        lines.append(f"| artifact, 75th and 90th percentile, most | {quarter:.1f}, {tenth:.1f}, {most:.1f} % | – |")
        few, many = (artifact < 0.10).mean() * 100, (artifact > 0.25).mean() * 100
        lines.append(f"| mosaics with < 10 % and > 25 % artifact | {few:.0f} %, {many:.0f} % | 75 %, about 10 % |")
    names = [name for name in (held[0] if held else ()) if name != "artifact"]
    return lines + [f"| {name} | {_percent(np.array([shares[name] for shares in held]))} | – |" for name in names]


def _percent(shares: NDArray[np.float64]) -> str:
    return f"{shares.mean() * 100:.1f} ± {shares.std() * 100:.1f} %" if len(shares) else "–"


def markdown(measured: Sequence[Measured], rows: Sequence[Row], name: str) -> str:
    """The whole report."""
    parts = [
        f"{len(measured)} mosaics of {name}. Median [10th–90th percentile over mosaics]; ✗ marks a miss: of whole "
        "mosaics, a median outside the range of A–D; of a class, a real value outside the mosaics' middle 80 %. "
        "Classes are measured on painted labels, in mosaics with at least 1 mm² of them; shares are of all pixels "
        "where the truth is known, else of the labelled ones.",
        "\n".join(share_lines(measured)),
    ]
    for area in dict.fromkeys(row.area for row in rows):
        held = [row for row in rows if row.area == area]
        reals = list(dict.fromkeys(real for row in held for real in row.real))
        header = " | ".join([f"{area}, {len(held[0].values)} mosaics", "here", *reals])
        lines = [f"| {header} |", "|---" * (2 + len(reals)) + "|", *(_line(row, reals) for row in held)]
        parts.append("\n".join(lines))
    parts.append(_ring_verdict(rows))
    missed = sum(len(row.misses()) for row in rows)
    parts.append(f"{missed} of {sum(1 if row.area == 'mosaic' else len(row.real) for row in rows)} comparisons missed.")
    return "\n\n".join(parts) + "\n"


def _line(row: Row, reals: Sequence[str]) -> str:
    misses = row.misses()
    whole = row.figure.startswith("grey") or row.figure.endswith(", µm")
    digits = 0 if whole else 3 if row.figure.startswith(("share", "first")) else 2
    median, low, high = (_number(value, digits) for value in row.middle)
    here = f"{median} [{low}, {high}]" + " ✗" * ("A–D" in misses)
    real = [_number(row.real.get(name, np.nan), digits) + " ✗" * (name in misses) for name in reals]
    return f"| {' | '.join([row.figure, here, *real])} |"


def _ring_verdict(rows: Sequence[Row]) -> str:
    dips = next((row.values for row in rows if (row.area, row.figure) == ("ring", "first minimum of acf")), None)
    if dips is None:
        return "No mosaic has a ring area of 1 mm²."
    deeper = "no deeper than" if dips.min() >= DEEPEST_RING else "DEEPER than"
    least, bound = _number(dips.min(), 3), _number(DEEPEST_RING, 2)
    return f"Deepest first minimum of the autocorrelation in a mosaic's ring area: {least}, {deeper} {bound}."


def _number(value: float, digits: int) -> str:
    """Without the zero before the point."""
    text = "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 1 and digits else text


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """One line a figure and real value."""
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["area", "figure", "mosaics", "median", "p10", "p90", "real_area", "real", "missed"])
        for row in rows:
            misses = row.misses()
            here = [row.area, row.figure, len(row.values), *(f"{value:.4g}" for value in row.middle)]
            for name, value in row.real.items() or [("", "")]:
                writer.writerow([*here, name, value, int("A–D" in misses or name in misses)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosaics", type=int, default=24, metavar="N", help="phantoms to make (default: %(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a dataset folder to measure instead")
    parser.add_argument("--processes", type=int, metavar="N", help="that make phantoms (default: all processors)")
    parser.add_argument("--out", type=Path, default=Path("runs/phantom-texture"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        data = read_dataset(options.data or make_set(options.out, options.mosaics, options.processes))
        measured = measure_set(data)
    except InputError as error:
        sys.exit(f"error: {error}")
    rows = make_rows(measured, data.classes.names)
    name = f"{data.name} (seed {SEED})" if options.data is None else data.name
    report = markdown(measured, rows, name)
    with written_whole(options.out / "texture.md") as temporary:
        temporary.write_text(report, encoding="utf-8")
    write_csv(options.out / "texture.csv", rows)
    print(report)


if __name__ == "__main__":
    main()
