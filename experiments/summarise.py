"""The table and the figure of a question, from what `rcm-cascade report` wrote: results.csv and levels.csv.

Usage: python experiments/summarise.py FOLDER. Writes FOLDER/table.md and FOLDER/figure.png.
"""

from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import pandas as pd

from experiments.script import difference_text, run, table
from rcm_cascade.evaluate.bootstrap import Difference
from rcm_cascade.files import write_text
from rcm_cascade.report.text import UNDEFINED

SHOWN: Final = {"sensitivity": "mean sensitivity", "specificity": "specificity", "dice": "Dice"}


def main(folder: Path) -> None:
    rows = pd.read_csv(folder / "results.csv")
    means = rows[rows["class"] == "mean"].set_index("configuration")
    whole = rows[rows["class"] == "all"].set_index("configuration")
    regions = next(name for name in map(str, rows) if name.startswith("regions_per_") and name.count("_") == 2)
    unit = regions.removeprefix("regions_per_").replace("mm2", "mm²")
    first, truth = means.iloc[0], whole.loc["truth"]
    heads = [*SHOWN.values(), "Δ sensitivity", f"regions/{unit}", "Δ regions", "under 0.05 mm²", "ECE", "parameters"]
    heads += ["GFLOP/MP", "training", "to the score"]
    found = [
        [
            label,
            *(_spread(mean, f"{key}_mean", f"{key}_sd") for key in SHOWN),
            difference_text(_difference(mean, "sensitivity")),
            _spread(whole.loc[label], regions, f"{regions}_sd", 1),
            difference_text(_difference(whole.loc[label], regions), 1),
            f"{whole.small_regions_share[label]:.0%}",
            _spread(whole.loc[label], "ece", "ece_sd"),
            f"{whole.parameters[label]:,.0f}",
            f"{whole.gflop_per_mp[label]:.1f}",
            f"{whole.train_seconds[label]:.0f} s",
            _time(whole.loc[label]),
        ]
        for label, mean in ((str(label), mean) for label, mean in means.iterrows())
    ]
    classes = [name for name in rows["class"].unique() if name not in ("mean", "all")]
    by_class = [
        [label, *(_spread(of.loc[name], "sensitivity_mean", "sensitivity_sd", 2) for name in classes)]
        for label, of in (
            (label, rows[rows.configuration == label].set_index("class")) for label in map(str, means.index)
        )
    ]
    parts = [
        f"{first.mosaics:.0f} test mosaics of {first.patients:.0f} phantom patients; mean ± sd over {first.seeds:.0f} "
        f"seeds. Δ: to `{first.reference}`, with 95 % intervals over patients and seeds, bold where they leave out "
        f"zero. Truth has {truth[regions]:.1f} regions a {unit}, {truth.small_regions_share:.0%} of them under 0.05 "
        "mm².",
        table(["configuration", *heads], found),
        "Sensitivity of each class:",
        table(["configuration", *classes], by_class),
        "Each level's own map, coarse to fine; Δ to the next coarser level of the same configuration:",
        _levels(pd.read_csv(folder / "levels.csv"), regions, unit),
    ]
    write_text(folder / "table.md", "\n\n".join(parts) + "\n")
    _draw(folder / "figure.png", means, whole, regions, unit)


def _levels(rows: pd.DataFrame, regions: str, unit: str) -> str:
    """Each level's own map, and what it adds to the next coarser."""
    cells = []
    for _, row in rows.iterrows():
        scores = []
        for key in ("sensitivity", "dice"):
            scores += [_spread(row, f"{key}_mean", f"{key}_sd"), difference_text(_difference(row, key))]
        cells.append([row.configuration, f"{row.level} ({row.factor}×)", *scores, _spread(row, regions, "", 1)])
    heads = ["configuration", "level", "mean sensitivity", "Δ", "Dice", "Δ", f"regions/{unit}"]
    return table(heads, cells, words=2)


def _draw(path: Path, means: pd.DataFrame, whole: pd.DataFrame, regions: str, unit: str) -> None:
    size = 9, 0.9 + 0.42 * len(means)
    figure, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained", dpi=110)
    for place, (label, mean) in enumerate(means.iterrows()):
        found = _difference(mean, "sensitivity")
        if label == mean.reference:
            left.plot(0, place, "|", color="grey", markersize=12)
        elif found.value is not None:
            face = "black" if found.differs else "white"
            left.plot(found.value, place, "o", color="black", markerfacecolor=face, markersize=5)
            left.plot(found.interval or (), [place] * len(found.interval or ()), color="black", zorder=0)
    values = whole.loc[means.index]
    spread = values[f"{regions}_sd"].fillna(0)
    right.errorbar(values[regions], range(len(means)), xerr=spread, fmt="o", color="black", markersize=4, capsize=2)
    left.axvline(0, color="grey", linewidth=0.8)
    left.set(yticks=range(len(means)), yticklabels=means.index, ylim=(-0.6, len(means) - 0.4))
    left.set_xlabel("Δ mean sensitivity (95 %)")
    left.set_title(f"minus {means.reference.iloc[0]}", fontsize="small")
    left.invert_yaxis()
    left.locator_params(axis="x", nbins=5)
    right.axvline(whole.loc["truth", regions], color="grey", linestyle="--", linewidth=0.8)
    right.set(xlabel=f"connected regions a {unit}", xscale="log")
    right.set_title("± sd over seeds; dashed: truth", fontsize="small")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def _spread(row: Any, value: str, sd: str, digits: int = 3) -> str:  # noqa: ANN401  # a row of a table
    if pd.isna(row[value]):
        return UNDEFINED
    return f"{row[value]:.{digits}f}" + (f" ± {row[sd]:.{digits}f}" if pd.notna(row.get(sd)) else "")


def _difference(row: Any, key: str) -> Difference:  # noqa: ANN401
    value, low, high = (row[f"{key}_difference{end}"] for end in ("", "_low", "_high"))
    return Difference(None if pd.isna(value) else value, None if pd.isna(low) else (low, high))


def _time(row: Any) -> str:  # noqa: ANN401
    if pd.isna(row.time_to_score_s):
        return "not reached"
    return f"{row.time_to_score_s:.0f} s ({row.seeds_that_reached_score:.0f} of {row.seeds:.0f})"


if __name__ == "__main__":
    run(main)
