"""The figures of a sweep, as SVG data URIs: differences, curves, regions."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.figures import DASHES, STYLE, svg_data_uri
from rcm_cascade.report.learning import mean_band
from rcm_cascade.report.spread import Spread

WIDTH: Final = 10.2
"""Inches; the page shows it at its full width."""

LEGEND_LINE: Final = 0.21
"""Inches that a line of a legend takes, with the space between entries."""

INK: Final = "#1a1a1a"

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
"""Told apart by colour-blind readers too (Okabe and Ito, but for the last)."""

_HALO: Final = withStroke(linewidth=4, foreground="white")


@dataclass(frozen=True)
class Look:
    """How a configuration is drawn, in every figure the same.

    Args:
        label: of the configuration.
        color: ``"#rrggbb"``.
        dash: of its lines.
    """

    label: str
    color: str
    dash: str


def looks(labels: Sequence[str], reference: str) -> list[Look]:
    """One for each label: the reference black, the others in colours, which repeat with other dashes."""
    others = [label for label in labels if label != reference]
    made = {
        label: Look(label, COLORS[i % len(COLORS)], DASHES[i // len(COLORS) % len(DASHES)])
        for i, label in enumerate(others)
    }
    return [made.get(label) or Look(label, INK, "-") for label in labels]


def difference_figure(
    differences: Mapping[str, Mapping[str, Difference]], shown: Sequence[Look], title: str
) -> str | None:
    """Differences to the reference with their intervals; None without a value.

    Filled where told from zero, hollow where not, a cross where there is no interval.

    Args:
        differences: by panel (the mean, each class) and label.
        shown: the configurations compared, from top to bottom.
        title: of the axes: what differs.
    """
    if not any(d.value is not None for panel in differences.values() for d in panel.values()):
        return None
    columns = min(4, len(differences))
    rows = -(-len(differences) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, rows * (0.75 + 0.36 * len(shown)) + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (name, panel) in zip(grid.flat, differences.items(), strict=False):
            axes.axvline(0, color=INK, linewidth=1)
            axes.set_title(plain(name), fontsize=10, loc="left", fontweight="bold" if name == "mean" else "normal")
            for row, look in enumerate(shown):
                if look.label in panel:
                    _draw_difference(axes, row, panel[look.label], look)
        for axes in grid.flat[len(differences) :]:
            axes.set_visible(False)
        first = grid[0, 0]
        first.set_yticks(range(len(shown)), [_wrapped(look.label) for look in shown])
        first.set_ylim(len(shown) - 0.4, -0.6)
        for axes in grid.flat:
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        figure.supxlabel(title, fontsize=10)
        return svg_data_uri(figure)


def learning_figure(curves: Mapping[str, Sequence[NDArray[np.float64]]], shown: Sequence[Look]) -> str | None:
    """Validation score against training time: means over seeds, bands from the lowest to the highest seed."""
    return _curves(curves, shown, "validation mean sensitivity")


def loss_figure(curves: Mapping[str, Sequence[NDArray[np.float64]]], shown: Sequence[Look]) -> str | None:
    """Training loss against training time, drawn as `learning_figure`."""
    return _curves(curves, shown, "training loss")


def region_figure(
    regions: Mapping[str, Mapping[str, Spread]], truth: Mapping[str, float | None], shown: Sequence[Look]
) -> str | None:
    """Bars of each configuration's regions, and the truth's as a line; None where nothing was counted.

    Args:
        regions: by panel's title and label.
        truth: by panel's title.
        shown: the configurations, from top to bottom.
    """
    if not any(of_seeds.mean is not None for panel in regions.values() for of_seeds in panel.values()):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.34 * len(shown) + 1.3), layout="constrained")
        grid = figure.subplots(1, len(regions), squeeze=False, sharey=True)
        for axes, (title, panel) in zip(grid.flat, regions.items(), strict=True):
            for row, look in enumerate(shown):
                of_seeds = panel[look.label]
                if of_seeds.mean is not None:
                    axes.barh(
                        row, of_seeds.mean, height=0.62, color=look.color, alpha=0.85, xerr=of_seeds.sd, ecolor=INK
                    )
            painted = truth.get(title)
            if painted is not None:
                axes.axvline(painted, color=INK, linewidth=1.6, linestyle="--", path_effects=[_HALO])
                axes.annotate(
                    f"truth {painted:.3g}",
                    (painted, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, 3),
                    textcoords="offset points",
                    fontsize=9,
                )
            axes.set_xlabel(title)
            axes.set_xlim(left=0)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        grid[0, 0].set_yticks(range(len(shown)), [_wrapped(look.label) for look in shown])
        grid[0, 0].set_ylim(len(shown) - 0.4, -0.6)
        return svg_data_uri(figure)


def _draw_difference(axes: Axes, row: int, difference: Difference, look: Look) -> None:
    if difference.value is None:
        return
    if difference.interval is None:
        axes.plot(difference.value, row, marker="x", markersize=7, color=look.color, markeredgewidth=1.6)
        return
    axes.plot(difference.interval, (row, row), color=look.color, linewidth=2.2, solid_capstyle="butt")
    axes.plot(
        difference.value,
        row,
        marker="o",
        markersize=7,
        color=look.color,
        markerfacecolor=look.color if difference.told else "white",
        markeredgewidth=1.6,
    )


def _curves(curves: Mapping[str, Sequence[NDArray[np.float64]]], shown: Sequence[Look], title: str) -> str | None:
    drawn = [(look, [c for c in curves.get(look.label, ()) if len(c)]) for look in shown]
    drawn = [(look, of_seeds) for look, of_seeds in drawn if of_seeds]
    if not drawn:
        return None
    longest = max(float(c[-1, 0]) for _, of_seeds in drawn for c in of_seeds)
    unit, seconds = ("hours", 3600.0) if longest > 7200 else ("minutes", 60.0) if longest > 120 else ("seconds", 1.0)
    with matplotlib.rc_context(STYLE):
        lines = sum(_wrapped(look.label).count("\n") + 1 for look, _ in drawn)
        figure = Figure(figsize=(WIDTH, max(4.2, 0.8 + LEGEND_LINE * lines)), layout="constrained")
        axes = figure.subplots()
        for look, of_seeds in drawn:
            band = mean_band(of_seeds)
            if len(band):
                x = band[:, 0] / seconds
                axes.fill_between(x, band[:, 2], band[:, 3], color=look.color, alpha=0.14, linewidth=0)
                axes.plot(x, band[:, 1], color=look.color, linestyle=look.dash, linewidth=2, label=_wrapped(look.label))
            else:  # a single epoch: points
                points = np.concatenate(of_seeds)
                axes.plot(points[:, 0] / seconds, points[:, 2], "o", color=look.color, label=_wrapped(look.label))
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{unit} of training, validation left out")
        axes.set_ylabel(title)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg_data_uri(figure)


def _wrapped(label: str, width: int = 30) -> str:
    return plain("\n".join(textwrap.wrap(label, width) or [label]))


def plain(text: str) -> str:
    """Without matplotlib's reading of dollar signs as formulas."""
    return text.replace("$", r"\$")
