"""What `templates/parts.html` shows of one summary: its tables as text, its pictures as data URIs."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from rcm_cascade.classes import ClassTable
from rcm_cascade.evaluate.confusion import row_shares
from rcm_cascade.pictures.png import png_data_uri
from rcm_cascade.report.figures import confusion_picture
from rcm_cascade.report.reliability import reliability_picture
from rcm_cascade.report.table import UNDEFINED, decimal, has_paper_row, interval_note, result_rows

KEYS: Final = ("sensitivity", "specificity", "dice")

MOST_FREQUENT: Final = 2
"""Wrong classes that are named of each true class."""

AVERAGES: Final = (
    ("pooled", "pooled", "one matrix of all labelled pixels"),
    ("per_mosaic", "per mosaic", "mean ± sd over mosaics"),
    ("per_patient", "per patient", "mean ± sd over patients"),
)
"""Key in `metrics.json`, name, and what it is."""


def result_parts(summary: Mapping[str, Any], classes: ClassTable) -> dict[str, Any]:
    """All of a summary that a page shows.

    Args:
        summary: as `summarise` gives it; parts that an older version did not measure are ``None``.
        classes: the class table.
    """
    matrix = np.array(summary["confusion"], np.int64)
    return {
        "rows": result_rows(summary, classes),
        "note": interval_note(summary),
        "intervals": summary["mean"]["sensitivity_ci"] is not None,
        "paper": has_paper_row(classes),
        "accuracy": decimal(summary["pixel_accuracy"]),
        "labelled": cell(summary["labelled_pixels"]),
        "averages": _averages(summary),
        "confusion": png_data_uri(confusion_picture(matrix, classes)),
        "taken_for": _taken_for(
            matrix.tolist(), row_shares(matrix).tolist(), [c.get("patients") for c in summary["classes"]], classes
        ),
        "coherence": _coherence(summary["coherence"]),
        "levels": _levels(summary),
        "calibration": _calibration(summary.get("calibration")),
    }


def _averages(summary: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    averages = summary.get("averages")
    if averages is None:
        return None
    return [
        {"name": name, "of": of, "cells": [_average(averages[key][number]) for number in KEYS]}
        for key, name, of in AVERAGES
    ]


def _average(value: float | Mapping[str, Any] | None) -> tuple[str, str]:
    """A mean and what is small below it: the pooled one is a number, the others have a spread."""
    if not isinstance(value, Mapping):
        return decimal(value), ""
    spread = "" if value["sd"] is None else f" ± {decimal(value['sd'])}"
    return decimal(value["mean"]) + spread, f"n = {value['n']}"


def _taken_for(
    matrix: list[list[int]], shares: list[list[float]], patients: list[int | None], classes: ClassTable
) -> list[dict[str, Any]]:
    """Of each true class the share found and the most frequent wrong classes, most first."""
    rows = []
    for true in classes.classes:
        counts = matrix[true.id]
        wrong = sorted((i for i in range(len(counts)) if i != true.id and counts[i]), key=lambda i: -counts[i])
        others = [(classes.classes[i], percent(shares[true.id][i])) for i in wrong[:MOST_FREQUENT]]
        rows.append(
            {
                "name": true.name,
                "color": true.color,
                "labelled": cell(sum(counts)),
                "patients": UNDEFINED if patients[true.id] is None else str(patients[true.id]),
                "found": percent(shares[true.id][true.id] if sum(counts) else None),
                "wrong": [{"name": c.name, "color": c.color, "share": share} for c, share in others],
            }
        )
    return rows


def _coherence(coherence: Mapping[str, Any]) -> dict[str, Any] | None:
    maps = {name: coherence[name] for name in ("truth", "prediction") if coherence[name] is not None}
    if not maps:
        return None
    return _units(next(iter(maps.values()))) | {
        "rows": [
            {
                "name": name,
                "regions": cell(numbers["regions"]),
                "density": _density(numbers),
                "small_regions": percent(numbers["small_regions_share"]),
                "small_area": percent(numbers["small_area_share"]),
            }
            for name, numbers in maps.items()
        ],
    }


def _levels(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Each level's own map, then the final one, then the truth, which has regions alone."""
    levels = summary.get("levels")
    if not levels or len(levels) < 2:  # the only level's map is the final one
        return None
    final, truth = summary["coherence"]["prediction"], summary["coherence"]["truth"]
    maps = [(f"level {v['level']}", f"{v['factor']}×", v["mean"], v["coherence"]) for v in levels]
    maps += [("final map", "", summary["mean"], final), ("truth", "", None, truth)]
    return (_units(truth) if truth else {"unit": "", "small": ""}) | {
        "rows": [
            {
                "name": name,
                "factor": factor,
                "numbers": ["" if mean is None else decimal(mean[key]) for key in KEYS],
                "density": _density(regions) if regions else UNDEFINED,
                "small_area": percent(regions["small_area_share"] if regions else None),
            }
            for name, factor, mean, regions in maps
        ]
    }


def _calibration(calibration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if calibration is None or not calibration["pixels"]:
        return None
    fitted = calibration["temperature"] != 1
    rows = [("as trained", calibration["ece"], calibration["nll"])]
    if fitted:
        name = f"at temperature {calibration['temperature']:.2f}"
        rows.append((name, calibration["ece_at_temperature"], calibration["nll_at_temperature"]))
    return {
        "fitted": fitted,
        "bins": calibration["bins"],
        "pixels": cell(calibration["pixels"]),
        "picture": reliability_picture(calibration),
        "rows": [{"name": name, "error": f"{error:.3f}", "likelihood": f"{nll:.3f}"} for name, error, nll in rows],
    }


def _units(numbers: Mapping[str, Any]) -> dict[str, str]:
    physical = numbers["unit"] == "mm2"
    return {
        "unit": "mm²" if physical else "megapixel",
        "small": f"{numbers['small_below']:g} mm²" if physical else f"{cell(numbers['small_below'])} px",
    }


def _density(numbers: Mapping[str, Any]) -> str:
    return UNDEFINED if numbers["regions_per_area"] is None else f"{numbers['regions_per_area']:.1f}"


def percent(share: float | None) -> str:
    """``"12.3 %"``, or a dash."""
    return UNDEFINED if share is None else f"{share:.1%}".replace("%", " %")


def cell(value: object) -> str:
    """A value as tables show it: whole numbers in groups of three, others with three digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u2009")  # thin spaces: neither a decimal comma nor a decimal point
    return f"{value:.3g}" if isinstance(value, float) else str(value)
