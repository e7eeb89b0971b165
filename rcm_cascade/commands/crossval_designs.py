"""Designs cross-validated on the same folds and seeds: how much they differ, and whether the data tell it from zero."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

import jinja2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rcm_cascade.commands.crossval_report import describe_folds
from rcm_cascade.commands.fold_files import Folds
from rcm_cascade.commands.out_of_fold import Pooled
from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS, pool_by_patient
from rcm_cascade.evaluate.metrics import write_whole
from rcm_cascade.evaluate.paired import DRAWS, LEVEL, Difference, paired_differences, shared_seeds
from rcm_cascade.report.comparison_figures import difference_figure, looks
from rcm_cascade.report.findings import METRIC_NAMES, NOT_TOLD, interval_text, signed
from rcm_cascade.report.outcomes import class_numbers
from rcm_cascade.report.spread import spread
from rcm_cascade.report.table import SYNTHETIC_NOTE
from rcm_cascade.runs.folder import write_json

COMPARISON_FILE: Final = "comparison.json"

MANY_SEEDS: Final = 10
"""With fewer, resampling seeds is no good measure of how much they differ."""


def compare_designs(pooled: Sequence[Pooled], classes: Sequence[str]) -> dict[str, Any]:
    """Each design's numbers over its seeds, and their paired differences to the first one's.

    Args:
        pooled: of two designs or more, on the same folds.
        classes: names, in id order.

    Returns:
        The content of `comparison.json`: ``reference``, ``mosaics``, ``patients``, ``method`` (in words), ``level``,
        ``draws``, and ``designs``, each with ``design``, ``seeds``, and for each metric ``numbers`` and, but for the
        reference, ``differences``, by class with the macro mean last. A number is ``{"name", "mean", "sd", "n"}``, over
        seeds; a difference ``{"name", "value", "low", "high", "told"}``, the last three ``None`` without an interval.
    """
    reference = pooled[0]
    names = [*classes, "mean"]
    designs = []
    for own in pooled:
        design: dict[str, Any] = {"design": own.design, "seeds": list(own.seeds), "numbers": {}, "differences": {}}
        for metric in METRIC_NAMES:
            numbers = class_numbers(metric)
            of_seeds = np.stack([numbers(np.sum([r.confusion for r in rs], axis=0)) for rs in own.seeds.values()])
            columns = zip(names, of_seeds.T.tolist(), strict=True)
            design["numbers"][metric] = [{"name": name} | asdict(spread(values)) for name, values in columns]
            if own is not reference:
                found = paired_differences(_by_patient(own), _by_patient(reference), numbers)
                design["differences"][metric] = [
                    {"name": name} | _plain(difference) for name, difference in zip(names, found, strict=True)
                ]
        designs.append(design)
    results = reference.results
    patients = len({r.patient for r in results})
    return {
        "reference": reference.design,
        "mosaics": len(results),
        "patients": patients,
        "method": _method(pooled, patients),
        "level": LEVEL,
        "draws": DRAWS,
        "designs": designs,
    }


def write_comparison(folds: Folds, pooled: Sequence[Pooled], told: Sequence[str]) -> dict[str, Any]:
    """Writes `comparison.json` and the page that shows it, and returns the former's content.

    Args:
        folds: of the cross-validation.
        pooled: of two designs or more.
        told: overrides, for the page.
    """
    comparison = compare_designs(pooled, folds.dataset.classes.names)
    write_json(folds.folder / COMPARISON_FILE, comparison)
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("rcm_cascade.commands"), jinja2.PackageLoader("rcm_cascade.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("crossval.html").render(
        title=f"Cross-validation of designs: {folds.dataset.name}",
        version=version("rcm-cascade"),
        synthetic=folds.dataset.synthetic,
        synthetic_note=SYNTHETIC_NOTE,
        facts=describe_folds(folds, told),
        comparison=comparison,
        sentences=sentences(comparison),
        metrics=METRIC_NAMES,
        colors=[c.color for c in folds.dataset.classes.classes],
        figures=_figures(comparison),
        number=_number,
        difference=lambda plain: signed(plain["value"]),
        interval=lambda plain: interval_text(_difference(plain)),
    )
    write_whole(folds.folder / "report.html", page)
    return comparison


def sentences(comparison: Mapping[str, Any]) -> list[str]:
    """One sentence a design: its mean sensitivity and Dice against the reference's, and what the data tell of them."""
    lines = []
    for design in comparison["designs"][1:]:
        parts = []
        for metric in METRIC_NAMES:
            plain = design["differences"][metric][-1]
            interval = interval_text(_difference(plain))
            where = f" ({100 * comparison['level']:g} % interval {interval})" if interval else ""
            verdict = {True: "", False: f", {NOT_TOLD}", None: ""}[plain["told"]]
            parts.append(f"{METRIC_NAMES[metric]} {signed(plain['value'])}{where}{verdict}")
        lines.append(f"{design['design']} against {comparison['reference']}: {'; '.join(parts)}.")
    return lines


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """The macro means of every design and their differences to the reference, for the terminal."""
    table = Table(caption=f"* told from zero. {comparison['method']}", caption_justify="left")
    table.add_column("design", no_wrap=True)
    for metric in METRIC_NAMES.values():
        table.add_column(metric, justify="right", no_wrap=True)
    for design in comparison["designs"]:
        cells = []
        for metric in METRIC_NAMES:
            lines = [_number(design["numbers"][metric][-1])]
            if metric in design["differences"]:
                plain = design["differences"][metric][-1]
                lines.append(signed(plain["value"]) + (" *" if plain["told"] else ""))
                lines.append(f"({interval})" if (interval := interval_text(_difference(plain))) else "")
            # without leading zeros, as the paper prints them, it fits a terminal of 80 columns
            cells.append("\n".join(lines).rstrip().replace("0.", "."))
        table.add_row(design["design"], *cells, end_section=True)
    return table


def _figures(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Caption and picture of the differences of each metric."""
    others = comparison["designs"][1:]
    shown = looks([design["design"] for design in comparison["designs"]], comparison["reference"])[1:]
    figures = []
    for metric, name in METRIC_NAMES.items():
        panels: dict[str, dict[str, Difference]] = {}
        for design in others:
            for plain in [design["differences"][metric][-1], *design["differences"][metric][:-1]]:
                panels.setdefault(plain["name"], {})[design["design"]] = _difference(plain)
        source = difference_figure(panels, shown, f"difference of {name} to {comparison['reference']}")
        if source is not None:
            caption = (
                f"Paired differences of {name} to {comparison['reference']}, with their intervals, in the mean and by "
                f"class. Filled: told from zero; hollow: {NOT_TOLD}."
            )
            figures.append((caption, source))
    return figures


def _by_patient(pooled: Pooled) -> dict[int, NDArray[np.int64]]:
    """Of each seed one matrix a patient, ``(P, C, C)``."""
    return {
        seed: pool_by_patient([r.confusion for r in results], [r.patient for r in results])
        for seed, results in pooled.seeds.items()
    }


def _method(pooled: Sequence[Pooled], patients: int) -> str:
    text = (
        f"Differences are a design’s mean over seeds minus that of {pooled[0].design}, each seed’s number from the "
        "confusion matrix pooled over the test mosaics of all folds"
    )
    if patients < MIN_PATIENTS:
        return (
            f"{text}. There are no intervals, because resampling fewer than {MIN_PATIENTS} patients says nothing about "
            f"the next one (here: {patients})."
        )
    fewest = min(len(shared_seeds(own.seeds, pooled[0].seeds)) for own in pooled[1:])
    seeds = (
        " One seed says nothing of what another would change."
        if fewest < 2
        else " Drawing from so few seeds understates how much they differ: intervals are somewhat too narrow."
        if fewest < MANY_SEEDS
        else ""
    )
    return (
        f"{text}; their {100 * LEVEL:g} % intervals are expanded percentiles of {DRAWS} resamples, in each of which "
        f"the {patients} patients are drawn with replacement, the same for both designs; so are the seeds. No network "
        f"is trained again for a resample.{seeds}"
    )


def _plain(difference: Difference) -> dict[str, Any]:
    low, high = difference.interval or (None, None)
    return {"value": difference.value, "low": low, "high": high, "told": difference.told}


def _difference(plain: Mapping[str, Any]) -> Difference:
    return Difference(plain["value"], None if plain["low"] is None else (plain["low"], plain["high"]))


def _number(plain: Mapping[str, Any]) -> str:
    if plain["mean"] is None:
        return "–"
    return f"{plain['mean']:.3f}" + ("" if plain["sd"] is None else f" ± {plain['sd']:.3f}")
