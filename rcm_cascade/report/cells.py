"""The rows of the page's tables, as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.findings import interval_text, signed
from rcm_cascade.report.outcomes import METRICS
from rcm_cascade.report.parts import cell, percent
from rcm_cascade.report.results import ConfigurationResult, describe_tested
from rcm_cascade.report.spread import Spread
from rcm_cascade.report.table import UNDEFINED

NO_INTERVAL: Final = "×"
"""In place of an interval, where a difference has none."""

Text = Callable[[float], str]

Row = dict[str, Any]
"""``label``, ``color``, ``reference`` and ``remark`` of a configuration, and ``cells``."""


def decimals(value: float) -> str:
    """Three decimals."""
    return f"{value:.3f}"


def tenths(value: float) -> str:
    """One decimal."""
    return f"{value:.1f}"


def duration(seconds: float) -> str:
    """In seconds, minutes or hours, whichever suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def describe_spread(of_seeds: Spread, text: Text) -> str:
    """``"0.72 ± 0.03"``; without the second number below two seeds, a dash without the first."""
    if of_seeds.mean is None:
        return UNDEFINED
    return text(of_seeds.mean) + ("" if of_seeds.sd is None else f" ± {text(of_seeds.sd)}")


FORMS: Final[Mapping[str, tuple[Text, float, int, str]]] = {
    "regions_per_area": (tenths, 1.0, 1, ""),
    "small_regions_share": (percent, 100.0, 1, " pp"),
    "small_area_share": (percent, 100.0, 1, " pp"),
}
"""How `REGION_NUMBERS` are written, and their differences: times what, with how many decimals, in which unit."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A row a configuration for each table.

    Args:
        comparison: of the sweep.
        colors: by label, ``"#rrggbb"``.
    """

    comparison: Comparison
    colors: Mapping[str, str]

    def means(self) -> list[Row]:
        """Macro means of each metric, with the number of seeds, and of those compared where they are fewer."""
        return [
            self._head(c)
            | {
                "seeds": _seeds(c),
                "cells": [_cell(c.numbers[m][-1], c.differences[m][-1] if c.differences else None) for m in METRICS],
            }
            for c in self.comparison.configurations
        ]

    def classes(self, metric: str) -> list[Row]:
        """A metric of each class and its macro mean."""
        return [
            self._head(c)
            | {
                "cells": [
                    _cell(of_seeds, c.differences[metric][i] if c.differences else None)
                    for i, of_seeds in enumerate(c.numbers[metric])
                ]
            }
            for c in self.comparison.configurations
        ]

    def levels(self) -> list[Row]:
        """A row a level too; only a configuration's first has a label."""
        return [
            self._head(c)
            | {
                "label": "" if i else c.label,
                "level": level.level,
                "factor": level.factor,
                "cells": [_cell(level.means[m], level.differences.get(m)) for m in METRICS],
                "regions": describe_spread(level.regions_per_area, tenths),
            }
            for c in self.comparison.configurations
            for i, level in enumerate(c.levels)
        ]

    def costs(self) -> list[Row]:
        """Parameters, operations, training time, time and epochs to score, seeds that reached it."""
        return [
            self._head(c)
            | {
                "cells": [
                    UNDEFINED if c.parameters is None else cell(round(c.parameters)),
                    UNDEFINED if c.gflop_per_mp is None else f"{c.gflop_per_mp:.1f}",
                    describe_spread(c.train_seconds, duration),
                    describe_spread(c.seconds_to_score, duration),
                    describe_spread(c.epochs_to_score, tenths),
                    f"{c.seconds_to_score.n} of {len(c.outcomes)}",
                ]
            }
            for c in self.comparison.configurations
        ]

    def regions(self) -> dict[str, Any]:
        """``rows``, the cells of the ``truth``, the ``unit`` of area and what is ``small``."""
        coherence = self.comparison.reference.outcomes[0].metrics.get("coherence") or {}
        truth = coherence.get("truth")
        physical = truth is None or truth["unit"] == "mm2"
        rows = [
            self._head(c)
            | {"cells": [_cell(c.regions[key], c.region_differences.get(key), *form) for key, form in FORMS.items()]}
            for c in self.comparison.configurations
            if any(of_seeds.mean is not None for of_seeds in c.regions.values())
        ]
        small = ""
        if truth is not None:
            small = f"{truth['small_below']:g} mm²" if physical else f"{cell(truth['small_below'])} px"
            truth = [UNDEFINED if truth[key] is None else form[0](truth[key]) for key, form in FORMS.items()]
        if self.comparison.reference.remark:
            truth = None
        return {"rows": rows, "truth": truth, "unit": "mm²" if physical else "megapixel", "small": small}

    def calibration(self) -> list[Row]:
        """Calibration errors of those configurations where they were measured."""
        return [
            self._head(c) | {"cells": [describe_spread(s, decimals) for s in (c.calibration_error, c.calibrated_error)]}
            for c in self.comparison.configurations
            if c.calibration_error.mean is not None
        ]

    def _head(self, result: ConfigurationResult) -> Row:
        return {
            "label": result.label,
            "color": self.colors[result.label],
            "reference": result is self.comparison.reference,
            "remark": result.remark and f"{result.remark}; {describe_tested(result.outcomes)}",
        }


def _seeds(result: ConfigurationResult) -> str:
    fewer = 0 < result.seeds_compared < len(result.outcomes)
    return f"{len(result.outcomes)}, {result.seeds_compared} compared" if fewer else str(len(result.outcomes))


def _cell(
    of_seeds: Spread,
    difference: Difference | None,
    text: Text = decimals,
    scale: float = 1.0,
    digits: int = 3,
    unit: str = "",
) -> dict[str, Any]:
    scaled = Difference(None, None) if difference is None else difference.scaled(scale)
    interval = interval_text(scaled, digits)
    return {
        "text": describe_spread(of_seeds, text),
        "difference": "" if difference is None else signed(scaled.value, digits) + unit,
        "interval": interval or ("" if scaled.value is None else NO_INTERVAL),
        "told": scaled.told,
    }
