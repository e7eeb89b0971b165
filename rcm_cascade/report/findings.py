"""What a sweep says, in plain sentences: which differences the data tell from zero, and which they do not."""

from dataclasses import dataclass
from typing import Final

from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS
from rcm_cascade.evaluate.paired import LEVEL, Difference
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.method import cautions
from rcm_cascade.report.results import ConfigurationResult
from rcm_cascade.report.table import counted

METRIC_NAMES: Final = {"sensitivity": "sensitivity", "specificity": "specificity", "dice": "Dice"}

NOT_TOLD: Final = "not told from zero by these data"


@dataclass(frozen=True)
class Findings:
    """Sentences for the top of the page.

    Args:
        opening: what was compared with what.
        told: the differences that the data tell from zero, largest first.
        untold: those that they do not, largest first.
        networks: those of one seed, largest first: between two trained networks, not two configurations.
        unmeasured: configurations without an interval, and why.
        classes: the same by class, in a sentence or two; empty where there is nothing to say.
        cautions: what to keep in mind.
    """

    opening: str
    told: tuple[str, ...]
    untold: tuple[str, ...]
    networks: tuple[str, ...]
    unmeasured: tuple[str, ...]
    classes: str
    cautions: tuple[str, ...]


def find(comparison: Comparison, metric: str) -> Findings:
    """The findings of a sweep by the mean of a metric, and by its classes.

    Args:
        comparison: of the sweep.
        metric: ``"sensitivity"`` or ``"dice"``.
    """
    measured = [(c, c.differences[metric][-1]) for c in comparison.compared if c.differences]
    ranked = sorted(measured, key=lambda pair: (-abs(pair[1].value or 0.0), pair[0].label))
    return Findings(
        opening=_opening(comparison, metric),
        told=tuple(_sentence(c, d) for c, d in ranked if d.told and c.seeds_compared > 1),
        untold=tuple(_sentence(c, d) for c, d in ranked if d.told is False and c.seeds_compared > 1),
        networks=tuple(
            f"{_sentence(c, d)}, {'told from zero' if d.told else NOT_TOLD}"
            for c, d in ranked
            if d.told is not None and c.seeds_compared == 1
        ),
        unmeasured=(
            *(f"{c.label}: {_without_interval(d, comparison.patients)}" for c, d in ranked if d.told is None),
            *(f"{c.label}: not compared, because {c.remark}" for c in comparison.compared if c.remark),
            *(f"{label}: no finished job" for label in comparison.missing),
        ),
        classes=_by_class(comparison, metric),
        cautions=tuple(cautions(comparison)),
    )


def signed(value: float | None, digits: int = 3) -> str:
    """With its sign, a true minus, none for 0 itself; a dash where undefined."""
    if value is None:
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−") if value else f"{0:.{digits}f}"


def interval_text(difference: Difference, digits: int = 3) -> str:
    """``"−0.180 to −0.060"``, or empty where there is none."""
    if difference.interval is None:
        return ""
    return " to ".join(signed(bound, digits) for bound in difference.interval)


def _opening(comparison: Comparison, metric: str) -> str:
    total, lost = len(comparison.sweep.jobs), len(comparison.left_out)
    jobs = f"{total - lost} of {counted(total, 'job')}" if lost else counted(total, "job")
    configurations = counted(len(comparison.configurations), "configuration")
    mean = comparison.reference.numbers[metric][-1]
    has = "" if mean.mean is None else f", which has {mean.mean:.3f}"
    text = f"{jobs} with a result make {configurations}, tested on {comparison.tested}. "
    if not comparison.compared:
        return text + f"With one configuration, {comparison.reference.label}, there is nothing to compare."
    return (
        text + f"Each is set against the reference, {comparison.reference.label}, by the mean {METRIC_NAMES[metric]} "
        f"over the classes{has}."
    )


def _sentence(result: ConfigurationResult, difference: Difference) -> str:
    where = f"{100 * LEVEL:g} % interval {interval_text(difference)}"
    return f"{result.label}: {signed(difference.value)} ({where})"


def _without_interval(difference: Difference, patients: int) -> str:
    if difference.value is None:
        return "the difference is not defined"
    patients = patients if difference.patients is None else difference.patients
    return (
        f"{signed(difference.value)}, without an interval, because {counted(patients, 'patient')} "
        f"{'is' if patients == 1 else 'are'} fewer than {MIN_PATIENTS}"
    )


def _by_class(comparison: Comparison, metric: str) -> str:
    found = [
        (d, f"{name} in {c.label} ({signed(d.value)})")
        for c in comparison.compared
        if c.differences
        for name, d in zip(comparison.classes.names, c.differences[metric], strict=False)  # the mean stands last
        if d.told is not None
    ]
    if not found:
        return ""
    alone = [c.label for c in comparison.compared if c.seeds_compared == 1]
    which = f" Those of {', '.join(alone)} are between two trained networks only." if alone else ""
    told = sorted((entry for entry in found if entry[0].told), key=lambda e: (-abs(e[0].value or 0.0), e[1]))
    name = METRIC_NAMES[metric]
    if not told:
        return f"Of the {len(found)} differences of a class’s {name}, none is told from zero by these data.{which}"
    return (
        f"Of the {len(found)} differences of a class’s {name}, {len(told)} "
        f"{'is' if len(told) == 1 else 'are'} told from zero, largest first: {'; '.join(text for _, text in told)}. "
        f"The others are {NOT_TOLD}.{which}"
    )
