"""What a sweep says: which differences there are, and what to keep in mind. The sentences are in findings.html."""

from collections.abc import Sequence
from typing import Any, Final

from rcm_cascade.evaluate.bootstrap import LEVEL
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.paired import DRAWS, shared_seeds
from rcm_cascade.report.compare import Comparison
from rcm_cascade.report.outcomes import Outcome

MANY_SEEDS: Final = 10
"""With fewer, resampling seeds is no good measure of how much they differ."""


def find(comparison: Comparison, metric: str) -> dict[str, Any]:
    """What findings.html says of the mean of a metric, a name of `METRICS`, and of its classes.

    Returns:
        ``different``, ``alike`` (not distinguishable from zero), ``networks`` (of one seed: between two trained
        networks, not two configurations) and ``unmeasured`` (without an interval), largest first; ``classes``: the
        same by class; ``intervals``: how many the page holds; ``ways``: how seeds are compared, and ``fewest``, how
        many at least.
    """
    numbers = [(c, comparison.number(c, metric)) for c in comparison.compared]
    ranked = sorted(numbers, key=lambda found: (-abs(found[1].difference or 0.0), found[0].label))
    by_class = [
        (c, name, number)
        for c in comparison.compared
        for name in comparison.classes.names
        if (number := comparison.number(c, metric, name)).differs is not None
    ]
    shown = [c.label for c in comparison.configurations]
    compared = [c for c in comparison.compared if c.seeds_compared]
    return {
        "comparison": comparison,
        "metric": METRICS[metric].label,
        "level": LEVEL,
        "draws": DRAWS,
        "different": [(c, n) for c, n in ranked if n.differs and c.seeds_compared > 1],
        "alike": [(c, n) for c, n in ranked if n.differs is False and c.seeds_compared > 1],
        "networks": [(c, n) for c, n in ranked if n.differs is not None and c.seeds_compared == 1],
        "unmeasured": [(c, n) for c, n in ranked if n.differs is None and n.patients is not None],
        "classes": sorted(by_class, key=lambda found: (-abs(found[2].difference or 0.0), found[1])),
        "mean": comparison.number(comparison.reference, metric).mean,
        "intervals": int(comparison.numbers.loc[shown, "low"].count()),
        "most": max(len(c.jobs) for c in comparison.configurations),
        "ways": sorted({describe_seeds(c.outcomes, comparison.reference.outcomes) for c in compared}),
        "fewest": min((c.seeds_compared for c in compared), default=0),
        "many": MANY_SEEDS,
    }


def describe_seeds(ours: Sequence[Outcome], reference: Sequence[Outcome]) -> str:
    """How the runs of two configurations are set against each other."""
    a, b = ({o.job.seed: o for o in side} for side in (ours, reference))
    shared = shared_seeds(a, b)
    if len(shared) > 1:
        return f"{len(shared)} seeds, each with itself"
    left, right = (", ".join(map(str, sorted(seeds))) for seeds in (a, b))
    return "one seed, which is not drawn" if shared else f"seeds {left} against {right}"
