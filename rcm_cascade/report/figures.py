"""The plots of the pages, as SVG data URIs."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.pictures.figure import INK
from rcm_cascade.pictures.plot import STYLE, svg_data_uri
from rcm_cascade.report.learning import stage_order

WIDTH: Final = 10.2
"""Inches; the page shows it at its full width."""

LEGEND_LINE: Final = 0.21
"""Inches that a line of a legend takes, with the space between entries."""

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
"""Told apart by colour-blind readers too (Okabe and Ito, but for the last)."""

DASHES: Final = ("-", "--", "-.", ":")

LEAST_SHARE: Final = 0.001
"""Of all pixels: the accuracy of a bin with fewer is chance, and is not drawn."""

BLUE: Final = "#2f6db5"
PALE: Final = "#c9dcf1"

MARKERS: Final = "osD^vP*X<>hp"

History = Sequence[Mapping[str, float | str | None]]
"""Rows of metrics.csv; a row need not have every column, and a cell may be empty."""


class Look(NamedTuple):
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
    pairs = cycle((color, dash) for dash in DASHES for color in COLORS)
    return [Look(label, INK, "-") if label == reference else Look(label, *next(pairs)) for label in labels]


def loss_curves(history: History) -> str | None:
    """Training loss, in all and by level; ``None`` without a value."""
    return _curves(history, {"train/loss": "total"} | _levels(history, "loss"), "training loss")


def gradient_curves(history: History) -> str | None:
    """Gradient norm by level, logarithmic where none is 0; ``None`` without a value."""
    return _curves(history, _levels(history, "grad_norm"), "gradient norm", log=True)


def sensitivity_curves(history: History, classes: ClassTable) -> str | None:
    """Validation sensitivity by class and its mean; ``None`` without a value."""
    names = {f"val/sensitivity_{name}": name for name in classes.names} | {"val/mean_sensitivity": "mean"}
    return _curves(history, names, "validation sensitivity", [c.color for c in classes.classes])


def _levels(history: History, stem: str) -> dict[str, str]:
    """The columns of the levels' curves and their names, coarse to fine."""
    keys = {int(m[1]): key for row in history for key in row if (m := re.fullmatch(rf"train/{stem}_level(\d+)", key))}
    where = {min(keys): " (coarsest)", max(keys): " (finest)"} if len(keys) > 1 else {}
    return {keys[level]: f"level {level}{where.get(level, '')}" for level in sorted(keys)}


def _curves(
    history: History, names: Mapping[str, str], title: str, colors: Sequence[str] = (), *, log: bool = False
) -> str | None:
    """The columns of a history by step or, without steps, by epoch; with colours given, of classes, each marked."""
    table = pd.DataFrame(list(history)).apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
    shown = {key: name for key, name in names.items() if key in table}
    if not table[list(shown)].notna().any(axis=None):
        return None
    axis = "step" if "step" in table else "epoch"
    palette = dict(zip(names, colors or seaborn.color_palette("viridis", len(names)), strict=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.4 if colors else 5.6, 3.7), layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel="training step" if axis == "step" else "epoch", ylabel=title)
        for i, (key, name) in enumerate(shown.items()):
            line = table[[axis, key]].dropna().sort_values(axis)
            window = len(line) // 30
            # A dark edge round each marker, and a shape of its own: pale classes stay legible, colour is not alone.
            marker = MARKERS[i % len(MARKERS)] if colors else "o" if len(line) < 12 else ""
            style: dict[str, Any] = {"marker": marker, "markeredgecolor": "#333333", "markersize": 5 if colors else 3}
            style |= {
                "color": INK if name in ("total", "mean") else palette[key],
                "linestyle": "-" if colors else DASHES[i % 4],
            }
            if window > 1:
                axes.plot(line[axis], line[key], color=style["color"], alpha=0.18, linewidth=0.8)
                line = line.rolling(window, center=True).mean().dropna()
            axes.plot(line[axis], line[key], label=name, **style)
        if log and (table[list(shown)].min() > 0).all():
            axes.set_yscale("log")
        if colors:
            axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4 if colors else 2)
        return svg_data_uri(figure)


def reliability_picture(calibration: Mapping[str, Any]) -> str:
    """Accuracy by confidence, before and after the temperature, above the share of pixels in each bin.

    Only one diagram is drawn where the temperature is 1, and no accuracy of bins below `LEAST_SHARE`.

    Args:
        calibration: of `measure_calibration`, with at least one pixel.
    """
    drawn = [("as trained", calibration["ece"], calibration["reliability"])]
    if calibration["temperature"] != 1:
        title = f"at temperature {calibration['temperature']:.2f}"
        drawn.append((title, calibration["ece_at_temperature"], calibration["reliability_at_temperature"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.2 * len(drawn), 4.8), layout="constrained")
        grid = figure.subplots(2, len(drawn), squeeze=False, sharex=True, sharey="row", height_ratios=(3.6, 1))
        for (title, error, rows), (diagram, histogram) in zip(drawn, grid.T, strict=True):
            bins = pd.DataFrame(rows).assign(width=lambda b: b["high"] - b["low"])
            bins["share"] = bins["pixels"] / bins["pixels"].sum()
            filled = bins[(bins["share"] >= LEAST_SHARE) & (bins["pixels"] > 0)]
            diagram.set_title(f"{title}: calibration error {error:.3f}", fontsize=10, loc="left")
            diagram.plot((0, 1), (0, 1), color="#8a8a8a", linestyle="--", linewidth=1.2)
            diagram.bar(filled["low"], filled["accuracy"], filled["width"], align="edge", color=PALE, edgecolor="white")
            diagram.plot(filled["confidence"], filled["accuracy"], color=BLUE, marker="o", markersize=4, clip_on=False)
            diagram.set(xlim=(0, 1), ylim=(0, 1))
            histogram.bar(bins["low"], bins["share"], bins["width"], align="edge", color=BLUE, edgecolor="white")
            histogram.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            histogram.set_xlabel("confidence")
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("pixels")
        return svg_data_uri(figure)


def dot_figure(
    dots: pd.DataFrame, shown: Sequence[Look], lines: Mapping[str, float | None], title: str = ""
) -> str | None:
    """Numbers of configurations with their intervals, a panel a number; None without a value.

    Args:
        dots: ``panel``, ``configuration``, ``value``, and ``low`` and ``high`` of its interval; without one it is drawn
            as a cross.
        shown: the configurations, from top to bottom.
        lines: the panels in order, and where in each a vertical line is drawn, such as the truth's number.
        title: of what is along the axes, where that are differences: those that do not differ from zero are hollow.
    """
    dots = dots[dots["panel"].isin(lines) & dots["configuration"].isin([look.label for look in shown])]
    rows: Any = dots.dropna(subset="value").astype({"low": float, "high": float}).itertuples()
    spans = {(dot.panel, dot.configuration): (dot.value, dot.low, dot.high) for dot in rows}
    if not spans:
        return None
    columns = min(4, len(lines))
    height = -(-len(lines) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height * (0.75 + 0.36 * len(shown)) + 0.5), layout="constrained")
        grid = figure.subplots(height, columns, squeeze=False, sharex=bool(title), sharey=True)
        for axes, (name, line) in zip(grid.flat, lines.items(), strict=False):
            axes.set_title(plain(name), fontsize=10, loc="left", fontweight="bold" if name == "mean" else "normal")
            if line is not None:
                axes.axvline(line, color=INK, linewidth=1, linestyle="-" if title else "--")
            for row, look in enumerate(shown):
                if (name, look.label) not in spans:
                    continue
                value, low, high = spans[name, look.label]
                if not np.isnan(low):
                    axes.plot((low, high), (row, row), color=look.color, linewidth=2.2, solid_capstyle="butt")
                face, marker = "white" if title and low <= 0 <= high else look.color, "x" if np.isnan(low) else "o"
                style = {"color": look.color, "markerfacecolor": face, "markersize": 7, "markeredgewidth": 1.6}
                axes.plot(value, row, marker, **style)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        for axes in grid.flat[len(lines) :]:
            axes.set_visible(False)
        grid[0, 0].set_yticks(range(len(shown)), [_wrapped(look.label) for look in shown])
        grid[0, 0].set_ylim(len(shown) - 0.4, -0.6)
        figure.supxlabel(title, fontsize=10)
        return svg_data_uri(figure)


def learning_figure(
    curves: Mapping[str, Sequence[NDArray[np.float64]]], shown: Sequence[Look], title: str
) -> str | None:
    """A score against training time, a line a seed; None without a value.

    Args:
        curves: by label, one a seed, as `rcm_cascade.report.learning.curve` gives them.
        shown: the configurations.
        title: of the score.
    """
    drawn = [(look, curve) for look in shown for curve in curves.get(look.label, ()) if len(curve)]
    if not drawn:
        return None
    longest = max(float(curve[-1, 0]) for _, curve in drawn)
    unit, seconds = ("hours", 3600.0) if longest > 7200 else ("minutes", 60.0) if longest > 120 else ("seconds", 1.0)
    lines = sum(_wrapped(label).count("\n") + 1 for label in {look.label for look, _ in drawn})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, max(4.2, 0.8 + LEGEND_LINE * lines)), layout="constrained")
        axes = figure.subplots()
        for look, curve in drawn:
            style: dict[str, Any] = {"color": look.color, "linestyle": look.dash}
            style["marker"] = "o" if len(curve) == 1 else ""
            axes.plot(curve[:, 0] / seconds, curve[:, 2], label=_wrapped(look.label), **style)
        axes.set_xlim(left=0)
        axes.set(xlabel=f"{unit} of training, validation left out", ylabel=title)
        legend = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))  # a line a configuration
        axes.legend(legend.values(), legend.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg_data_uri(figure)


def gradient_figure(norms: pd.DataFrame) -> str | None:
    """Gradient norms by level (rows) and stage (columns), over the first third of the epochs and over all.

    Args:
        norms: as `Comparison.gradients`; None is drawn without any.
    """
    if norms.empty:
        return None
    values = norms.to_numpy(float)
    lowest = min(values[values > 0], default=0.1)
    colors = LogNorm(lowest, max(values.max(), 1.001 * lowest))
    stages = sorted(norms.index.unique("stage"), key=stage_order)
    groups = norms.groupby("configuration", sort=False)
    heights = [len(table.index.unique("level")) + 1.1 for _, table in groups]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 0.3 * sum(heights) + 1.1), layout="constrained")
        grid = figure.subplots(len(groups), 2, squeeze=False, sharex=True, height_ratios=heights)
        for row, (label, table) in zip(grid, groups, strict=True):
            for axes, column in zip(row, norms, strict=True):
                cells = table.droplevel("configuration")[column].unstack("stage").reindex(columns=stages)
                seaborn.heatmap(
                    cells.where(cells > 0),
                    annot=cells.map(lambda value: "" if np.isnan(value) else f"{value:.1g}"),
                    fmt="",
                    annot_kws={"size": 7},
                    norm=colors,
                    vmin=colors.vmin,
                    vmax=colors.vmax,
                    cmap="viridis",
                    cbar=False,
                    yticklabels=[f"level {level}" for level in cells.index] if column == "first_third" else [],
                    ax=axes,
                )
                axes.set(xlabel="", ylabel="")
            row[0].set_title(plain(str(label)), fontsize=10, loc="left")
        for axes, title in zip(grid[-1], ("over the first third of the epochs", "over all epochs"), strict=True):
            axes.set_xlabel(title)
        return svg_data_uri(figure)


def _wrapped(label: str, width: int = 30) -> str:
    return plain("\n".join(textwrap.wrap(label, width) or [label]))


def plain(text: str) -> str:
    """Without matplotlib's reading of dollar signs as formulas."""
    return text.replace("$", r"\$")
