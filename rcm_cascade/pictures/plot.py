"""Plots by matplotlib, all in one style: confusion matrices here, curves and intervals in `rcm_cascade.report`."""

import base64
import io
from typing import Any, Final

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.confusion import row_shares

STYLE: Final[Any] = {  # matplotlib types the keys one by one from 3.11 on, and not before
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "svg.hashsalt": "rcm-cascade",  # the same run gives the same bytes
}


def confusion_picture(matrix: NDArray[np.int64], classes: ClassTable) -> Image.Image:
    """The confusion matrix with each row as shares of that true class; a row without labelled pixels stays empty.

    Args:
        matrix: ``(C, C)`` int64, rows = truth.
        classes: the class table.
    """
    shares, totals = row_shares(matrix), matrix.sum(axis=1).tolist()
    side = 1.6 + 0.52 * max(len(classes), 3)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(side + 0.9, side), dpi=120, layout="constrained")
        axes = seaborn.heatmap(
            np.nan_to_num(shares),
            annot=np.vectorize(lambda share: "" if np.isnan(share) else f"{share + 1e-9:.2f}")(shares),
            fmt="",
            cmap="Blues",
            vmin=0,
            vmax=1,
            cbar=False,
            linewidths=2,
            xticklabels=classes.names,
            yticklabels=[f"{n}\n{_pixels(total)}" for n, total in zip(classes.names, totals, strict=True)],
            ax=figure.subplots(),
        )
        axes.tick_params(axis="x", rotation=40)
        axes.tick_params(axis="y", rotation=0)
        axes.set(xlabel="predicted class", ylabel="true class, and its labelled pixels")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def svg_data_uri(figure: Figure) -> str:
    """A figure as an SVG in a data URI; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _pixels(count: int) -> str:
    if count >= 100_000:
        return f"{count / 1e6:.1f} Mpx"
    return f"{count / 1e3:.1f} kpx" if count >= 1000 else f"{count} px"
