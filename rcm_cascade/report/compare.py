"""The configurations of a sweep over their seeds, each set against one of them, and what that says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.bootstrap import DRAWS, LEVEL, Difference, count_compared, paired_differences, shared_seeds
from rcm_cascade.evaluate.coherence import REGION_NUMBERS, region_numbers
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.report.learning import best_score, mean_gradients
from rcm_cascade.report.outcomes import ALL, FINAL_MAP, KEYS, MEAN, Number, Outcome, long_table, over_seeds
from rcm_cascade.report.text import describe_mosaics
from rcm_cascade.runs.jobs import Job, Sweep

DEFAULT: Final = "default"
"""What a configuration is called that overrides nothing but what all jobs do."""

SCORE_SHARE: Final = 0.9
"""Of the reference's mean best validation score: the score that `time to score` is measured to, if none is given."""

_SAME: Final = re.compile(r"\+{0,2}(seed|run|logger|logger\..*|sweep|hydra\..*)=.*")
"""Overrides that make no other configuration."""

MANY_SEEDS: Final = 10
"""With fewer, resampling seeds is no good measure of how much they differ."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """What is repeated over seeds: jobs that differ in their seed alone.

    Args:
        label: its overrides, ``"model.levels=2, model.prior=logits"``, or `DEFAULT`.
        jobs: by seed; one a seed.
        outcomes: of those that have one, by seed.
        remark: why there is no difference to the reference, or why there is none to it; else empty.
        seeds_compared: that the differences come from, as `count_compared` says; 0 without any.
    """

    label: str
    jobs: tuple[Job, ...]
    outcomes: tuple[Outcome, ...] = ()
    remark: str = ""
    seeds_compared: int = 0

    @property
    def confusion(self) -> NDArray[np.int64]:
        """``(C, C)``, rows = truth, summed over test mosaics; the mean over seeds, in whole pixels."""
        mean = np.mean([o.confusions.sum(axis=0) for o in self.outcomes], axis=0)
        pixels: NDArray[np.int64] = np.rint(mean).astype(np.int64)
        return pixels

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Number and down-sampling of each, coarse to fine; none where a seed's evaluation lacks them or has others."""
        recorded = {
            tuple((level["level"], level["factor"]) for level in o.metrics.get("levels") or []) for o in self.outcomes
        }
        return recorded.pop() if len(recorded) == 1 else ()

    @property
    def tested(self) -> str:
        """``"9 test mosaics of 7 patients"``; where the outcomes differ in it, each of what they have."""
        texts = (describe_mosaics(o.count, o.patients, o.nameless, "test mosaic") for o in self.outcomes)
        return " or ".join(dict.fromkeys(texts))


@dataclass(frozen=True)
class LeftOut:
    """A job without a result, and why.

    Args:
        job: of the sweep.
        configuration: the label of its configuration.
        state: failed, unfinished, finished but not scored, or a repetition of another job.
        sentence: what became of it.
    """

    job: Job
    configuration: str
    state: Literal["failed", "unfinished", "not scored", "repeated"]
    sentence: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a sweep came to.

    Args:
        sweep: whose.
        classes: names and colours.
        configurations: those with a result, in the order of the sweep.
        reference: one of them.
        score: that `time to score` is measured to; None: nothing was validated.
        left_out: the jobs without a result, in the order of the sweep.
        missing: labels of the configurations without any.
        table: every number, of `long_table`.
        numbers: a `Number` a row, by `KEYS`: means over seeds, with their differences.
    """

    sweep: Sweep
    classes: ClassTable
    configurations: tuple[Configuration, ...]
    reference: Configuration
    score: float | None
    left_out: tuple[LeftOut, ...]
    missing: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    numbers: pd.DataFrame = field(repr=False)

    @property
    def compared(self) -> tuple[Configuration, ...]:
        """All but the reference."""
        return tuple(c for c in self.configurations if c is not self.reference)

    @property
    def first(self) -> Outcome:
        """The first outcome of the reference, which says what was tested on."""
        return self.reference.outcomes[0]

    @property
    def synthetic(self) -> bool:
        """Whether any result is of phantoms."""
        return any(bool(o.metrics.get("synthetic")) for c in self.configurations for o in c.outcomes)

    def number(self, configuration: Configuration, metric: str, name: str = MEAN, level: int = FINAL_MAP) -> Number:
        """A number of a class (`MEAN`: the macro mean, `ALL`: what is no number of a class)."""
        key: Any = (configuration.label, level, name, metric)
        if key not in self.numbers.index:
            return Number()
        row: list[Any] = [None if pd.isna(value) else value for value in self.numbers.loc[key]]
        return Number(*row)

    @property
    def gradients(self) -> pd.DataFrame:
        """Of each configuration, as `mean_gradients` gives them."""
        norms = {c.label: mean_gradients([o.history for o in c.outcomes]) for c in self.configurations}
        return pd.concat(norms, names=["configuration"])


def compare_configurations(
    sweep: Sweep,
    outcomes: Mapping[str, Outcome],
    failures: Mapping[str, str],
    classes: ClassTable,
    *,
    reference: str | None = None,
    score: float | None = None,
) -> Comparison:
    """Groups a sweep's results by configuration and compares each with the reference.

    Args:
        sweep: whose.
        outcomes: by the name of the job; at least one.
        failures: by the name of the job: why a finished job has no outcome.
        classes: of the results.
        reference: a configuration's label, or a part that it alone has; None: the first with a result.
        score: that `time to score` is measured to; None: `default_score`.

    Raises:
        InputError: if ``reference`` names no configuration, more than one, or one without a result.
    """
    groups = [
        replace(c, outcomes=tuple(outcomes[job.name] for job in c.jobs if job.name in outcomes))
        for c in group_jobs(sweep)
    ]
    having = [c for c in groups if c.outcomes]
    chosen = having[0] if reference is None else find_configuration(groups, reference)
    if chosen not in having:
        raise InputError(
            f"--reference {reference} names {chosen.label!r}, of which {sweep.path} has no finished job; name one of "
            f"{'; '.join(repr(c.label) for c in having)}"
        )
    score = default_score(chosen.outcomes) if score is None else score
    configurations = tuple(set_against(c, chosen) for c in having)
    table = long_table({c.label: c.outcomes for c in configurations}, score)
    rows = [row for c in configurations for row in _differences(c, chosen)]
    differences = pd.DataFrame(rows, columns=[*KEYS, *Number._fields[3:]]).set_index(KEYS)
    labels = {job.name: c.label for c in groups for job in c.jobs}
    without = [job for job in sweep.jobs if job.name not in outcomes or job.name not in labels]
    return Comparison(
        sweep=sweep,
        classes=classes,
        configurations=configurations,
        reference=configurations[having.index(chosen)],
        score=score,
        left_out=tuple(_left_out(job, labels.get(job.name, ""), failures.get(job.name)) for job in without),
        missing=tuple(c.label for c in groups if c not in having),
        table=table,
        numbers=over_seeds(table).join(differences).astype({"patients": "Int64"}),
    )


def group_jobs(sweep: Sweep) -> list[Configuration]:
    """The configurations of a sweep, in the order of their first jobs.

    Overrides that all jobs share name nothing, nor does the seed. Of two jobs of one configuration and seed the first
    that is finished counts.
    """
    given = {job.name: [o for o in job.overrides if not _SAME.fullmatch(o)] for job in sweep.jobs}
    common = set.intersection(*(set(overrides) for overrides in given.values()))
    kept = {name: [o for o in overrides if o not in common] for name, overrides in given.items()}
    labels: dict[frozenset[str], str] = {}
    for job in sweep.jobs:
        labels.setdefault(frozenset(kept[job.name]), ", ".join(kept[job.name]) or DEFAULT)
    groups: dict[frozenset[str], dict[int, Job]] = {key: {} for key in labels}
    for job in sorted(sweep.jobs, key=lambda job: (job.seed, job.state != "finished", job.name)):
        groups[frozenset(kept[job.name])].setdefault(job.seed, job)
    return [Configuration(labels[key], tuple(jobs.values())) for key, jobs in groups.items()]


def find_configuration(configurations: Sequence[Configuration], name: str) -> Configuration:
    """The configuration of a label, or the only one whose label holds ``name``.

    Raises:
        InputError: if there is none, or more than one.
    """
    found = [c for c in configurations if c.label == name] or [c for c in configurations if name in c.label]
    if len(found) == 1:
        return found[0]
    which, labels = "more than one" if found else "none", "; ".join(repr(c.label) for c in configurations)
    raise InputError(f"--reference {name} names {which} of the sweep's configurations; they are {labels}")


def set_against(ours: Configuration, reference: Configuration) -> Configuration:
    """A configuration with what is to be said of its comparison with the reference, which may be itself."""
    outcomes, remark = [*ours.outcomes, *reference.outcomes], ""
    if any(o.classes != reference.outcomes[0].classes for o in outcomes):
        remark = "other classes than the reference's"
    elif len({o.tested for o in outcomes}) > 1:
        remark = "not all of its jobs and the reference's were tested on the same labelled mosaics"
        if ours.jobs == reference.jobs:
            remark = "its jobs were not all tested on the same labelled mosaics, so nothing is compared with it"
    if remark or ours.jobs == reference.jobs:
        return replace(ours, remark=remark)
    a, b = ({o.job.seed: o for o in side.outcomes} for side in (ours, reference))
    return replace(ours, seeds_compared=count_compared(a, b))


def default_score(reference: Sequence[Outcome]) -> float | None:
    """`SCORE_SHARE` of the mean over seeds of the best validation score; None where nothing was validated."""
    best = [score for o in reference if (score := best_score(o.history)) is not None]
    return SCORE_SHARE * float(np.mean(best)) if best else None


def _differences(ours: Configuration, reference: Configuration) -> Iterator[tuple[Any, ...]]:
    """To the reference, and of each level to the next coarser: `KEYS` and the fields of a `Number` from there on."""
    outcomes, theirs = ours.outcomes, reference.outcomes
    if ours.seeds_compared:
        a, b = (_by_seed(side, [o.confusions for o in side]) for side in (outcomes, theirs))
        for key, metric in METRICS.items():
            found = paired_differences(a, b, metric.with_mean)
            for name, difference in zip((*outcomes[0].classes, MEAN), found, strict=True):
                yield ours.label, FINAL_MAP, name, key, *_plain(difference)
        if all(o.regions is not None for o in (*outcomes, *theirs)):
            a, b = (_by_seed(side, [o.regions for o in side]) for side in (outcomes, theirs))
            for key, difference in zip(REGION_NUMBERS, paired_differences(a, b, region_numbers), strict=True):
                yield ours.label, FINAL_MAP, ALL, key, *_plain(difference)
    levels = [o.levels for o in outcomes if o.levels is not None and o.levels.shape[1] == len(ours.levels)]
    if len(levels) == len(outcomes) and len({o.tested for o in outcomes}) == 1:
        maps = [_by_seed(outcomes, [of_run[:, i] for of_run in levels]) for i in range(len(ours.levels))]
        for (level, _), finer, coarser in zip(ours.levels[1:], maps[1:], maps, strict=False):
            for key, metric in METRICS.items():
                difference = paired_differences(finer, coarser, metric.with_mean)[-1]
                yield ours.label, level, MEAN, key, *_plain(difference)


def _plain(difference: Difference) -> tuple[Any, ...]:
    return difference.value, *(difference.interval or (None, None)), difference.differs, difference.patients


def _by_seed(outcomes: Sequence[Outcome], values: Sequence[Any]) -> dict[int, NDArray[Any]]:
    """Sums by patient of what was counted on each mosaic ``(M, …)`` in each run."""
    return {o.job.seed: o.by_patient(of_run) for o, of_run in zip(outcomes, values, strict=True)}


def _left_out(job: Job, configuration: str, failure: str | None) -> LeftOut:
    if failure is not None:
        return LeftOut(job, configuration, "not scored", failure)
    if job.state == "finished" or not configuration:
        return LeftOut(job, configuration, "repeated", "another job has its configuration and its seed")
    return LeftOut(job, configuration, job.state, job.sentence)


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
    names = comparison.classes.names
    by_class = [(c, name, comparison.number(c, metric, name)) for c in comparison.compared for name in names]
    shown = [c.label for c in comparison.configurations]
    measured = [found for found in by_class if found[2].differs is not None]
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
        "classes": sorted(measured, key=lambda found: (-abs(found[2].difference or 0.0), found[1])),
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
