"""The figure of a sweep's gradient norms, as an SVG data URI."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from rcm_cascade.report.comparison_figures import INK, WIDTH, plain
from rcm_cascade.report.figures import STYLE, svg_data_uri
from rcm_cascade.report.learning import GradientNorms, sort_stages


def gradient_figure(norms: Mapping[str, GradientNorms]) -> str | None:
    """Gradient norms by level (rows) and stage (columns), over the first third of the epochs and over all.

    Args:
        norms: by label; configurations without any are left out.
    """
    recorded = {label: of for label, of in norms.items() if of}
    if not recorded:
        return None
    stages = sort_stages({stage for of in recorded.values() for _, stage in of})
    drawn = [value for of in recorded.values() for pair in of.values() for value in pair if value > 0]
    colors = LogNorm(min(drawn), max(max(drawn), 1.001 * min(drawn))) if drawn else LogNorm(0.1, 1)
    levels = {label: sorted({level for level, _ in of}) for label, of in recorded.items()}
    ratios = [len(levels[label]) + 1.1 for label in recorded]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(WIDTH, 0.3 * sum(ratios) + 1.1), layout="constrained")
        grid = figure.subplots(len(recorded), 2, squeeze=False, sharex=True, height_ratios=ratios)
        for row, (label, of) in zip(grid, recorded.items(), strict=True):
            for which, axes in enumerate(row):
                _draw_gradients(axes, of, levels[label], stages, which, colors)
            row[0].set_title(plain(label), fontsize=10, loc="left")
            row[0].set_yticks(range(len(levels[label])), [f"level {level}" for level in levels[label]])
        for axes, title in zip(grid[-1], ("over the first third of the epochs", "over all epochs"), strict=True):
            axes.set_xticks(range(len(stages)), stages, rotation=55, ha="right", rotation_mode="anchor", fontsize=9)
            axes.set_xlabel(title)
        return svg_data_uri(figure)


def _draw_gradients(
    axes: Axes, norms: GradientNorms, levels: Sequence[int], stages: Sequence[str], which: int, colors: LogNorm
) -> None:
    table = np.full((len(levels), len(stages)), np.nan)
    for (level, stage), pair in norms.items():
        table[levels.index(level), stages.index(stage)] = pair[which]
    shown = np.ma.masked_where(~(table > 0), table)
    axes.imshow(shown, norm=colors, cmap="viridis", aspect="auto")
    for row, column in np.ndindex(*table.shape):
        value = float(table[row, column])
        if not np.isnan(value):
            bright = value > 0 and colors(value) > 0.6
            axes.text(
                column,
                row,
                _short(value),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if value > 0 and not bright else INK,
            )
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(value: float) -> str:
    """Two digits in few letters: ``".034"``, ``"1.2"``, ``"4e-5"``."""
    if value == 0:
        return "0"
    if value < 0.001 or value >= 1000:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.2g}".removeprefix("0") if value < 1 else f"{value:.2g}"
