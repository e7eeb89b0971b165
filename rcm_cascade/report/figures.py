"""Pictures of results: the paper's Figure 2, confusion matrices, learning curves."""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.pictures.colours import colorize, grey_to_rgb
from rcm_cascade.pictures.figure import Panel, compose
from rcm_cascade.pictures.shrink import shrink_factor, shrink_image, shrink_labels

PANEL_PX: Final = 700
"""Longest side of one panel of a comparison."""

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

MARKERS: Final = "osD^vP*X<>hp"
DASHES: Final = ("-", "--", "-.", ":")

Color = str | tuple[float, float, float, float]

History = Sequence[Mapping[str, float | str | None]]
"""Rows of metrics.csv; a row need not have every column, and a cell may be empty."""


def comparison(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    prediction: NDArray[np.uint8],
    classes: ClassTable,
    pixel_size_um: float | None,
    title: str,
    caption: str = "",
) -> Image.Image:
    """A mosaic as in the paper's Figure 2: image, truth with unlabelled yellow, prediction, side by side.

    Args:
        image: ``(H, W)`` uint8.
        truth: ``(H, W)`` uint8 class ids, 255 = unlabelled; ``None`` leaves its panel out.
        prediction: ``(H, W)`` uint8 class ids.
        classes: the class table.
        pixel_size_um: of these arrays, or ``None``.
        title: names the mosaic; opens the caption.
        caption: what else there is to say.

    Raises:
        ValueError: if the shapes differ.
    """
    maps = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    for name, labels in maps.items():
        if labels.shape != image.shape:
            raise ValueError(f"{name} is {labels.shape} and the image {image.shape}; expected one shape (H, W)")
    factor = shrink_factor((image.shape[0], image.shape[1]), PANEL_PX)
    panels = [Panel("Image", grey_to_rgb(shrink_image(image, factor)))]
    panels += [Panel(name.capitalize(), colorize(shrink_labels(m, factor), classes)) for name, m in maps.items()]
    shown = None if pixel_size_um is None else pixel_size_um * factor
    text = f"{title}. {caption}" if caption else title
    return compose(panels, classes, pixel_size_um=shown, caption=text, unlabelled=truth is not None)


def confusion_picture(matrix: NDArray[np.int64], classes: ClassTable) -> Image.Image:
    """The confusion matrix with each row as shares of that true class; a row without labelled pixels stays empty.

    Args:
        matrix: ``(C, C)`` int64, rows = truth.
        classes: the class table.
    """
    shares = row_shares(matrix)
    count = len(classes)
    side = 1.6 + 0.52 * max(count, 3)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(side + 0.9, side), dpi=120, layout="constrained")
        axes = figure.subplots()
        axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(count, count):
            share = shares[row, column]
            if math.isnan(share):
                continue
            axes.text(
                column,
                row,
                f"{share + 1e-9:.2f}",
                ha="center",
                va="center",
                color="white" if share > 0.55 else "#1a1a1a",
                fontweight="bold" if row == column else "normal",
            )
        totals = matrix.sum(axis=1).tolist()
        axes.set_xticks(range(count), classes.names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), [f"{n}\n{_pixels(t)}" for n, t in zip(classes.names, totals, strict=True)])
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class, and its labelled pixels")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def loss_curves(history: History) -> str | None:
    """Training loss, in all and by level, as an SVG data URI; ``None`` without a value."""
    return _level_curves(history, "loss", "training loss", total="train/loss")


def gradient_curves(history: History) -> str | None:
    """Gradient norm by level, logarithmic, as an SVG data URI; ``None`` without a value."""
    return _level_curves(history, "grad_norm", "gradient norm", log=True)


def sensitivity_curves(history: History, classes: ClassTable) -> str | None:
    """Validation sensitivity by class and its mean, as an SVG data URI; ``None`` without a value."""
    lines = [(c, _series(history, f"val/sensitivity_{c.name}")) for c in classes.classes]
    mean = _series(history, "val/mean_sensitivity")
    if not len(mean[0]) and not any(len(x) for _, (x, _) in lines):
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(history, "validation sensitivity", width=9.4)
        for i, (label, (x, y)) in enumerate(lines):
            # A dark edge round each marker, and a shape of its own: pale classes stay legible, colour is not alone.
            axes.plot(
                x,
                y,
                color=label.color,
                marker=MARKERS[i % len(MARKERS)],
                markeredgecolor="#333333",
                markeredgewidth=0.7,
                markersize=6,
                linewidth=1.8,
                label=label.name,
            )
        axes.plot(*mean, color="#1a1a1a", linewidth=2.6, marker=".", label="mean")
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg_data_uri(figure)


def _level_curves(history: History, stem: str, title: str, *, total: str = "", log: bool = False) -> str | None:
    pattern = re.compile(rf"train/{stem}_level(\d+)")
    found = {int(m[1]): key for row in history for key in row if (m := pattern.fullmatch(key))}
    lines = {key: _series(history, key) for key in ([total] if total else [])}
    lines |= {found[level]: _series(history, found[level]) for level in sorted(found)}
    lines = {key: line for key, line in lines.items() if len(line[0])}
    if not lines:
        return None
    levels = [level for level in sorted(found) if found[level] in lines]
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(history, title, width=5.6)
        if total in lines:
            _line(axes, *lines[total], color="#1a1a1a", dash="-", width=2.2, name="total")
        for i, level in enumerate(levels):
            color = matplotlib.colormaps["viridis"](0.1 + 0.68 * i / max(1, len(levels) - 1))
            where = {levels[0]: " (coarsest)", levels[-1]: " (finest)"}.get(level, "") if len(levels) > 1 else ""
            _line(axes, *lines[found[level]], color=color, dash=DASHES[i % 4], width=1.6, name=f"level {level}{where}")
        if log and all((y > 0).all() for _, y in lines.values()):
            axes.set_yscale("log")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return svg_data_uri(figure)


def _line(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, color: Color, dash: str, width: float, name: str
) -> None:
    window = len(y) // 30
    marker = "o" if len(y) < 12 else ""
    if window > 1:
        axes.plot(x, y, color=color, alpha=0.18, linewidth=0.8)
        kernel = np.ones(window) / window
        x, y = np.convolve(x, kernel, mode="valid"), np.convolve(y, kernel, mode="valid")
    axes.plot(x, y, color=color, linestyle=dash, linewidth=width, label=name, marker=marker, markersize=4)


def _axes(history: History, title: str, width: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, 3.7), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("training step" if _axis(history) == "step" else "epoch")
    axes.set_ylabel(title)
    return figure, axes


def _axis(history: History) -> str:
    return "step" if any(_number(row.get("step")) is not None for row in history) else "epoch"


def _series(history: History, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = _axis(history)
    points = [(_number(row.get(axis)), _number(row.get(key))) for row in history]
    kept = sorted((x, y) for x, y in points if x is not None and y is not None)
    table = np.array(kept, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _number(value: float | str | None) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _pixels(count: int) -> str:
    if count >= 100_000:
        return f"{count / 1e6:.1f} Mpx"
    return f"{count / 1e3:.1f} kpx" if count >= 1000 else f"{count} px"


def svg_data_uri(figure: Figure) -> str:
    """A figure as an SVG in a data URI; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
