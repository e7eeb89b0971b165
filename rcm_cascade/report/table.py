"""The result table that people read: per class, with intervals, and the paper's row beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from rcm_cascade.classes import PAPER_SENSITIVITY, PAPER_SPECIFICITY, RCM_CLASSES, ClassTable
from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS

SYNTHETIC_NOTE: Final = "phantom (synthetic) mosaics: no statement about patients"
UNDEFINED: Final = "–"


@dataclass(frozen=True)
class ResultRow:
    """One class, or the mean, as text.

    Args:
        name: of the class, or ``"mean"``.
        color: of the class, ``"#rrggbb"``; empty for the mean.
        sensitivity: two decimals, or a dash where undefined, and so on.
        sensitivity_ci: ``"0.61–0.80"``, or empty where there is no interval, and so on.
        paper_sensitivity: the paper's number, or empty where the classes are not the paper's.
    """

    name: str
    color: str
    sensitivity: str
    sensitivity_ci: str
    specificity: str
    specificity_ci: str
    dice: str
    dice_ci: str
    paper_sensitivity: str
    paper_specificity: str


def has_paper_row(classes: ClassTable) -> bool:
    """Whether the classes are those of Kose et al. 2018."""
    return classes.names == RCM_CLASSES.names


def result_rows(summary: Mapping[str, Any], classes: ClassTable) -> list[ResultRow]:
    """One row a class in id order, then the mean.

    The paper gives no mean; the one shown is the mean of its six published numbers.

    Args:
        summary: as `summarise` gives it.
        classes: the class table.
    """
    paper = has_paper_row(classes)
    published = list(zip(PAPER_SENSITIVITY, PAPER_SPECIFICITY, strict=True)) if paper else [(None, None)] * len(classes)
    rows = [
        _row(c.name, c.color, numbers, *published[i])
        for i, (c, numbers) in enumerate(zip(classes.classes, summary["classes"], strict=True))
    ]
    means = (_mean(PAPER_SENSITIVITY), _mean(PAPER_SPECIFICITY)) if paper else (None, None)
    return [*rows, _row("mean", "", summary["mean"], *means)]


def interval_note(summary: Mapping[str, Any]) -> str:
    """How the intervals came about, or why there are none."""
    patients = summary["patients"]
    counts = describe_mosaics(summary["mosaics"], patients, summary.get("mosaics_without_patient", 0))
    method = summary["bootstrap"]
    if summary["mean"]["sensitivity_ci"] is None:
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


def describe_mosaics(mosaics: int, patients: int, without: int = 0, noun: str = "mosaic") -> str:
    """``"9 mosaics of 7 patients"``, or that and which of them count as a patient for want of a name.

    Args:
        mosaics: how many.
        patients: whose they are.
        without: the mosaics of which the manifest names no patient.
        noun: what a mosaic is called.
    """
    if without and without == mosaics:
        return f"{counted(mosaics, noun)}, no patients given: each counts as one"
    text = f"{counted(mosaics, noun)} of {counted(patients, 'patient')}"
    return text + (f", of which {without} are mosaics without a patient given" if without else "")


def counted(number: int, noun: str) -> str:
    """``"1 seed"``, ``"2 seeds"``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def format_table(summary: Mapping[str, Any], classes: ClassTable, title: str = "") -> Table:
    """The result table for the terminal.

    Args:
        summary: as `summarise` gives it.
        classes: the class table.
        title: written above it.
    """
    note = interval_note(summary)
    if summary["synthetic"]:
        note = f"{SYNTHETIC_NOTE}\n{note}"
    table = Table(title=title or None, caption=note, caption_justify="left", title_justify="left")
    for heading in ("class", "sensitivity", "specificity", "Dice"):
        table.add_column(heading, justify="left" if heading == "class" else "right", no_wrap=True)
    paper = has_paper_row(classes)
    if paper:
        table.add_column("paper", justify="right", no_wrap=True)
    rows = result_rows(summary, classes)
    for row in rows:
        cells = [
            row.name,
            _cell(row.sensitivity, row.sensitivity_ci),
            _cell(row.specificity, row.specificity_ci),
            _cell(row.dice, row.dice_ci),
        ]
        if paper:
            cells.append(f"{_cell(row.paper_sensitivity)} / {_cell(row.paper_specificity)}")
        table.add_row(*cells, end_section=row is rows[-2], style="bold" if row is rows[-1] else None)
    return table


def decimal(value: float | None) -> str:
    """Two decimals, or a dash."""
    return UNDEFINED if value is None else f"{value + 1e-9:.2f}"  # .945, stored as .94499…, rounds up


def _row(
    name: str, color: str, numbers: Mapping[str, Any], paper_sensitivity: float | None, paper_specificity: float | None
) -> ResultRow:
    def interval(key: str) -> str:
        bounds = numbers[f"{key}_ci"]
        return "" if bounds is None else f"{bounds[0]:.2f}–{bounds[1]:.2f}"

    return ResultRow(
        name=name,
        color=color,
        sensitivity=decimal(numbers["sensitivity"]),
        sensitivity_ci=interval("sensitivity"),
        specificity=decimal(numbers["specificity"]),
        specificity_ci=interval("specificity"),
        dice=decimal(numbers["dice"]),
        dice_ci=interval("dice"),
        paper_sensitivity="" if paper_sensitivity is None else decimal(paper_sensitivity),
        paper_specificity="" if paper_specificity is None else decimal(paper_specificity),
    )


def _cell(number: str, interval: str = "") -> str:
    # Without leading zeros, as the paper prints them, the table fits a terminal of 80 columns.
    text = f"{number} ({interval})" if interval else number
    return text.replace("0.", ".")


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
