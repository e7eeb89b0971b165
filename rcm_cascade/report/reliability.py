"""The reliability picture: how often a network is right where it is so and so sure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rcm_cascade.report.figures import STYLE, svg_data_uri

BLUE: Final = "#2f6db5"
PALE: Final = "#c9dcf1"

LEAST_SHARE: Final = 0.001
"""Of all pixels: the accuracy of a bin with fewer is chance, and is not drawn."""


def reliability_picture(calibration: Mapping[str, Any]) -> str:
    """Accuracy by confidence, before and after the temperature, above the share of pixels in each bin.

    Only one diagram is drawn where the temperature is 1, and no accuracy of bins below `LEAST_SHARE`.

    Args:
        calibration: of `measure_calibration`, with at least one pixel.

    Returns:
        An SVG data URI.
    """
    drawn = [("as trained", calibration["ece"], calibration["reliability"])]
    if calibration["temperature"] != 1:
        title = f"at temperature {calibration['temperature']:.2f}"
        drawn.append((title, calibration["ece_at_temperature"], calibration["reliability_at_temperature"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.2 * len(drawn), 4.8), layout="constrained")
        grid = figure.subplots(2, len(drawn), squeeze=False, sharex=True, sharey="row", height_ratios=(3.6, 1))
        for (title, error, rows), (diagram, histogram) in zip(drawn, grid.T, strict=True):
            diagram.set_title(f"{title}: calibration error {error:.3f}", fontsize=10, loc="left")
            _diagram(diagram, rows)
            _histogram(histogram, rows)
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("pixels")
        return svg_data_uri(figure)


def _diagram(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.plot((0, 1), (0, 1), color="#8a8a8a", linestyle="--", linewidth=1.2)
    least = max(1, LEAST_SHARE * sum(row["pixels"] for row in rows))
    filled = [row for row in rows if row["pixels"] >= least]
    lows, widths = _bins(filled)
    accuracies = [row["accuracy"] for row in filled]
    axes.bar(lows, accuracies, widths, align="edge", color=PALE, edgecolor="white", linewidth=0.8)
    axes.plot(
        [row["confidence"] for row in filled],
        accuracies,
        color=BLUE,
        marker="o",
        markersize=4,
        linewidth=1.6,
        clip_on=False,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _histogram(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    total = sum(row["pixels"] for row in rows)
    lows, widths = _bins(rows)
    shares = [row["pixels"] / total for row in rows]
    axes.bar(lows, shares, widths, align="edge", color=BLUE, edgecolor="white", linewidth=0.8)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xlabel("confidence")


def _bins(rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    lows = np.array([row["low"] for row in rows])
    return lows, np.array([row["high"] for row in rows]) - lows
