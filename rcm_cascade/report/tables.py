"""The result table by class, with intervals and the paper's row beside it: terminal, CSV, HTML and LaTeX."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from rcm_cascade.classes import PAPER_SENSITIVITY, PAPER_SPECIFICITY, RCM_CLASSES, ClassTable
from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.text import SYNTHETIC_NOTE, UNDEFINED, decimal, describe_mosaics


def has_paper_row(classes: ClassTable) -> bool:
    """Whether the classes are those of Kose et al. 2018."""
    return classes.names == RCM_CLASSES.names


def result_texts(summary: Mapping[str, Any], classes: ClassTable) -> pd.DataFrame:
    """One row a class in id order, then the mean, as people read them.

    The paper gives no mean; the one shown is the mean of its six published numbers.

    Args:
        summary: as `summarise` gives it; a metric that an older version did not have is a dash.
        classes: the class table.

    Returns:
        ``class``; by label of the metric two decimals and the interval, ``"0.72 (0.61–0.80)"``, or a dash; and for the
        paper's classes ``paper``, its sensitivity and specificity.
    """
    table = to_frame(summary)
    texts = table[["class"]].copy()
    for key, metric in METRICS.items():
        bounds = zip(table[key], table[f"{key}_low"], table[f"{key}_high"], strict=True)
        texts[metric.label] = [
            decimal(value) + ("" if np.isnan(low) else f" ({low:.2f}–{high:.2f})") for value, low, high in bounds
        ]
    if has_paper_row(classes):
        published = pd.DataFrame([PAPER_SENSITIVITY, PAPER_SPECIFICITY]).T
        published.loc[len(published)] = published.mean()
        texts["paper"] = published.map(decimal).agg(" / ".join, axis=1)
    return texts


def interval_note(summary: Mapping[str, Any]) -> str:
    """How the intervals came about, or why there are none."""
    patients = summary["patients"]
    counts = describe_mosaics(summary["mosaics"], patients, summary.get("mosaics_without_patient", 0))
    method = summary["bootstrap"]
    if not has_intervals(summary):
        return (
            f"{counts}; no intervals, because resampling fewer than {MIN_PATIENTS} patients says nothing about the "
            "next one"
        )
    text = (
        f"{counts}; {100 * method['level']:g} % intervals by bootstrap over the {patients} patients "
        f"({method['method'].split(',')[0]}), {method['draws']} draws"
    )
    few = [f"{c['name']} ({c['patients']})" for c in summary["classes"] if 0 < c.get("patients", 0) < MIN_PATIENTS]
    if few:
        text += f"; held by fewer than {MIN_PATIENTS} patients, so without an interval of sensitivity: {', '.join(few)}"
    return text


def has_intervals(summary: Mapping[str, Any]) -> bool:
    """Whether any mean has one."""
    return any(summary["mean"].get(f"{key}_ci") is not None for key in METRICS)


def format_table(summary: Mapping[str, Any], classes: ClassTable, title: str = "") -> Table:
    """The result table for the terminal.

    Args:
        summary: as `summarise` gives it.
        classes: the class table.
        title: written above it.
    """
    note = f"{SYNTHETIC_NOTE}\n" * summary["synthetic"] + interval_note(summary)
    table = Table(title=title or None, caption=note, caption_justify="left", title_justify="left")
    # Without leading zeros, as the paper prints them, the table fits a terminal of 80 columns.
    texts = result_texts(summary, classes).replace(r"\b0\.", ".", regex=True)
    for heading in texts:
        table.add_column(str(heading), justify="left" if heading == "class" else "right", no_wrap=heading == "class")
    for i, row in texts.iterrows():
        last = i == len(texts) - 1
        table.add_row(*row, end_section=i == len(texts) - 2, style="bold" if last else None)
    return table


def agreement_table(found: Mapping[str, Any]) -> Table:
    """Kappas of readers for the terminal, each with its interval where there is one."""
    title = f"Kappa on {found['mosaics']} mosaics of {found['patients']} patients"
    table = Table(title=title, title_justify="left")
    table.add_column("class", no_wrap=True)
    columns = {"Fleiss": found["fleiss"]} if found["fleiss"] else {}
    columns |= {" and ".join(pair["readers"]): pair["cohen"] for pair in found["pairs"]}
    for heading in columns:
        table.add_column(heading, justify="right")
    for row in zip(*columns.values(), strict=True):
        cells = [
            UNDEFINED
            if each["kappa"] is None
            else f"{each['kappa']:.2f}" + (" ({:.2f} to {:.2f})".format(*each["kappa_ci"]) if each["kappa_ci"] else "")
            for each in row
        ]
        table.add_row(row[0]["name"], *cells)
    return table


def to_latex(summary: Mapping[str, Any], classes: ClassTable) -> str:
    """The result table for a manuscript, by the package booktabs."""
    return latex(result_texts(summary, classes), interval_note(summary))


def latex(table: pd.DataFrame, caption: str) -> str:
    """A table of texts in LaTeX, by the package booktabs; what LaTeX takes for commands is escaped."""
    form = "l" + "r" * (table.shape[1] - 1)
    text: str = table.to_latex(index=False, escape=True, column_format=form)
    for sign, command in (("−", "$-$"), ("±", r"$\pm$"), ("–", "--")):  # which LaTeX does not know by themselves
        text = text.replace(sign, command)
    return f"% {caption}\n{text}"


def to_frame(summary: Mapping[str, Any]) -> pd.DataFrame:
    """The same numbers for other programs: a row a class and one of the mean, each interval in two columns."""
    rows = []
    for values in [*summary["classes"], {"name": "mean"} | summary["mean"]]:
        row = {"class": values["name"], "labelled_pixels": values.get("labelled_pixels", summary["labelled_pixels"])}
        row["patients"] = values.get("patients", summary["patients"])
        for key in METRICS:
            low, high = values.get(f"{key}_ci") or (None, None)
            row |= {key: values.get(key), f"{key}_low": low, f"{key}_high": high}
        rows.append(row)
    numbers = [column for column in rows[0] if column.startswith(tuple(METRICS))]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))
