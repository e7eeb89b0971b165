"""The table and the figure of a question, from what `rcm-cascade report` wrote: results.csv and levels.csv.

Usage: python experiments/summarise.py FOLDER. Writes FOLDER/table.md and FOLDER/figure.png.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

Row = Mapping[str, str]

SHOWN: Final = {"sensitivity": "mean sensitivity", "specificity": "specificity", "dice": "Dice"}


def main(folder: Path) -> None:
    rows = _read(folder / "results.csv")
    labels = list(dict.fromkeys(row["configuration"] for row in rows if row["class"] == "mean"))
    mean = {row["configuration"]: row for row in rows if row["class"] == "mean"}
    whole = {row["configuration"]: row for row in rows if row["class"] == "all"}
    regions = next(name for name in rows[0] if name.startswith("regions_per_") and name.count("_") == 2)
    unit = regions.removeprefix("regions_per_").replace("mm2", "mm²")
    classes = [r["class"] for r in rows if r["configuration"] == labels[0] and r["class"] not in ("mean", "all")]
    first, truth = mean[labels[0]], whole["truth"]
    heads = [*SHOWN.values(), "Δ sensitivity", f"regions/{unit}", "Δ regions", "under 0.05 mm²", "ECE", "parameters"]
    heads += ["GFLOP/MP", "training", "to the score"]
    lines = [
        f"{first['mosaics']} test mosaics of {first['patients']} phantom patients; mean ± sd over {first['seeds']} "
        f"seeds. Δ: to `{first['reference']}`, with 95 % intervals over patients and seeds, bold where they leave out "
        f"zero. Truth has {float(truth[regions]):.1f} regions a {unit}, {float(truth['small_regions_share']):.0%} of "
        "them under 0.05 mm².",
        "",
        f"| configuration | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(heads),
    ]
    for label in labels:
        own, all_ = mean[label], whole[label]
        cells = [
            *(_spread(own, f"{key}_mean", f"{key}_sd", 3) for key in SHOWN),
            _difference(own, "sensitivity", 3),
            _spread(all_, regions, f"{regions}_sd", 1),
            _difference(all_, regions, 1),
            f"{float(all_['small_regions_share']):.0%}",
            _spread(all_, "ece", "ece_sd", 3),
            f"{float(all_['parameters']):,.0f}",
            f"{float(all_['gflop_per_mp']):.1f}",
            f"{float(all_['train_seconds']):.0f} s",
            _time(all_),
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += ["", "Sensitivity of each class:", "", f"| configuration | {' | '.join(classes)} |"]
    lines += ["|---|" + "---:|" * len(classes)]
    for label in labels:
        of = {row["class"]: row for row in rows if row["configuration"] == label}
        values = [_spread(of[name], "sensitivity_mean", "sensitivity_sd", 2) for name in classes]
        lines.append(f"| {label} | {' | '.join(values)} |")
    lines += _levels(_read(folder / "levels.csv"), regions, unit)
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(folder / "figure.png", labels, mean, whole, regions, unit)


def _levels(rows: Sequence[Row], regions: str, unit: str) -> list[str]:
    """Each level's own map, and what it adds to the next coarser."""
    lines = ["", "Each level's own map, coarse to fine; Δ to the next coarser level of the same configuration:", ""]
    lines += [f"| configuration | level | mean sensitivity | Δ | Dice | Δ | regions/{unit} |"]
    lines += ["|---|---|" + "---:|" * 5]
    for row in rows:
        cells = [
            f"{row['level']} ({row['factor']}×)",
            _spread(row, "sensitivity_mean", "sensitivity_sd", 3),
            _difference(row, "sensitivity", 3),
            _spread(row, "dice_mean", "dice_sd", 3),
            _difference(row, "dice", 3),
            f"{float(row[regions]):.1f}" if row[regions] else "–",
        ]
        lines.append(f"| {row['configuration']} | {' | '.join(cells)} |")
    return lines


def _draw(
    path: Path,
    labels: Sequence[str],
    mean: Mapping[str, Row],
    whole: Mapping[str, Row],
    regions: str,
    unit: str,
) -> None:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 0.9 + 0.42 * len(labels)), sharey=True, layout="constrained", dpi=110
    )
    places = range(len(labels))
    for place, label in zip(places, labels, strict=True):
        _draw_difference(left, place, mean[label], "sensitivity")
        value, sd = float(whole[label][regions]), float(whole[label][f"{regions}_sd"] or 0)
        right.errorbar(value, place, xerr=sd, fmt="o", color="black", markersize=4, capsize=2)
    left.axvline(0, color="grey", linewidth=0.8)
    reference = mean[labels[0]]["reference"]
    left.set(yticks=places, yticklabels=labels, ylim=(-0.6, len(labels) - 0.4), xlabel="Δ mean sensitivity (95 %)")
    left.set_title(f"minus {reference}", fontsize="small")
    left.invert_yaxis()
    left.locator_params(axis="x", nbins=5)
    right.axvline(float(whole["truth"][regions]), color="grey", linestyle="--", linewidth=0.8)
    right.set(xlabel=f"connected regions a {unit}", xscale="log")
    right.set_title("± sd over seeds; dashed: truth", fontsize="small")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def _draw_difference(axes: Axes, place: int, row: Row, key: str) -> None:
    value, low, high = (row[f"{key}_difference{end}"] for end in ("", "_low", "_high"))
    if row["configuration"] == row["reference"]:
        axes.plot(0, place, "|", color="grey", markersize=12)
    elif value:
        told = row[f"{key}_differs"] == "true"
        axes.plot(float(value), place, "o", color="black", markerfacecolor="black" if told else "white", markersize=5)
        if low:
            axes.plot([float(low), float(high)], [place, place], color="black", zorder=0)


def _spread(row: Row, value: str, sd: str, digits: int) -> str:
    if not row[value]:
        return "–"
    return f"{float(row[value]):.{digits}f}" + (f" ± {float(row[sd]):.{digits}f}" if row.get(sd) else "")


def _difference(row: Row, key: str, digits: int) -> str:
    value, low, high = (row[f"{key}_difference{end}"] for end in ("", "_low", "_high"))
    if not value:
        return "–"
    bold = "**" if row[f"{key}_differs"] == "true" else ""
    interval = f" ({float(low):+.{digits}f} to {float(high):+.{digits}f})" if low else ""
    return f"{bold}{float(value):+.{digits}f}{bold}{interval}"


def _time(row: Row) -> str:
    if not row["time_to_score_s"]:
        return "not reached"
    return f"{float(row['time_to_score_s']):.0f} s ({row['seeds_that_reached_score']} of {row['seeds']})"


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
