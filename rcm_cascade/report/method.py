"""How a sweep's differences and their intervals come about, and what to keep in mind of them."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from rcm_cascade.evaluate.bootstrap import MIN_PATIENTS
from rcm_cascade.evaluate.paired import DRAWS, LEVEL, Difference, lacking_share
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.results import describe_seeds
from rcm_cascade.report.table import counted

MANY_SEEDS: Final = 10
"""With fewer, resampling seeds is no good measure of how much they differ."""

OFTEN_LACKING: Final = 0.01
"""Of the resamples: a class that more of them lack is spoken of."""


def method(comparison: Comparison) -> str:
    """How the differences and their intervals come about."""
    text = (
        f"Differences are a configuration’s mean minus the reference’s ({comparison.reference.label}), over the seeds "
        "that both have (over all, where they share none), each seed’s number from the confusion matrix pooled over "
        "all test mosaics"
    )
    if comparison.patients < MIN_PATIENTS:
        return (
            f"{text}. There are no intervals, because resampling fewer than {MIN_PATIENTS} patients says nothing about "
            f"the next one (here: {comparison.patients})."
        )
    return (
        f"{text}; their {100 * LEVEL:g} % intervals are percentiles of {DRAWS} resamples, in each of which the "
        f"{comparison.patients} patients are drawn with replacement, the same for both sides, and so are the seeds, in "
        "pairs of one seed where both sides have it. The percentiles are expanded for the number of patients in whom "
        "a number is defined (Hesterberg 2015), as those of few patients would be too narrow; below "
        f"{MIN_PATIENTS} there is no interval. In a resample that lacks a class, means are over the other classes."
    )


def all_intervals(comparison: Comparison) -> list[Difference]:
    """Every difference on the page that has an interval: by class, in the mean, of regions, between levels."""
    differences = [
        d
        for c in comparison.configurations
        for d in [
            *(d for of_metric in c.differences.values() for d in of_metric),
            *c.region_differences.values(),
            *(d for level in c.levels for d in level.differences.values()),
        ]
    ]
    return [d for d in differences if d.interval is not None]


def cautions(comparison: Comparison) -> Iterable[str]:
    """What to keep in mind: many intervals, rare classes, few or missing seeds, jobs that are not comparable."""
    intervals = all_intervals(comparison)
    if intervals:
        yield (
            f"This page holds {counted(len(intervals), 'interval')} of differences (by class, in the mean, of regions, "
            "between levels), not corrected for their number: were no difference real, about one in twenty would "
            "still leave out zero, and up to one in seven where few patients differ very unevenly."
        )
        first = comparison.reference.outcomes[0]
        share = lacking_share(first.by_patient(first.confusions).sum(axis=2) > 0)
        if share > OFTEN_LACKING:
            rare = comparison.classes.names[int(np.argmin([n or np.inf for n in first.holding]))]
            yield (
                f"{100 * share:.0f} % of the resamples lack a class, mostly {rare}, and their means are over the other "
                "classes: intervals of means are then not all of the same mean."
            )
    if comparison.reference.remark:
        yield f"The reference, {comparison.reference.label}: {comparison.reference.remark}."
    most = max(len(c.configuration.jobs) for c in comparison.configurations)
    for result in comparison.configurations:
        seeds = len(result.outcomes)
        if seeds < most:
            yield f"{result.label} has {counted(seeds, 'seed')} with a result, of {most}."
    compared = [c for c in comparison.compared if c.differences]
    if compared and intervals:
        ways = sorted({describe_seeds(c.outcomes, comparison.reference.outcomes) for c in compared})
        fewest = min(c.seeds_compared for c in compared)
        text = f"Seeds compared: {'; '.join(ways)}."
        if fewest == 1:
            text += " An interval from one seed says nothing of what another seed would change."
        elif fewest < MANY_SEEDS:
            text += " Drawing from so few seeds understates how much they differ: intervals are somewhat too narrow."
        yield text
