"""The configurations of a sweep, each set against one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rcm_cascade.classes import ClassTable
from rcm_cascade.errors import InputError
from rcm_cascade.report.configurations import Configuration, find_configuration, group_jobs
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.report.results import ConfigurationResult, default_score, describe_tested, summarise_configuration
from rcm_cascade.runs.jobs import Job, Sweep


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
    """

    sweep: Sweep
    classes: ClassTable
    configurations: tuple[ConfigurationResult, ...]
    reference: ConfigurationResult
    score: float | None
    left_out: tuple[LeftOut, ...]
    missing: tuple[str, ...]

    @property
    def compared(self) -> tuple[ConfigurationResult, ...]:
        """All but the reference."""
        return tuple(c for c in self.configurations if c is not self.reference)

    @property
    def mosaics(self) -> int:
        """That the reference was tested on."""
        return len(self.reference.outcomes[0].mosaics)

    @property
    def patients(self) -> int:
        """Whose mosaics these are."""
        return self.reference.outcomes[0].patients

    @property
    def tested(self) -> str:
        """What the reference was tested on, in words."""
        return describe_tested(self.reference.outcomes)

    @property
    def synthetic(self) -> bool:
        """Whether any result is of phantoms."""
        return any(bool(o.metrics.get("synthetic")) for c in self.configurations for o in c.outcomes)


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
    groups = group_jobs(sweep)
    having = [c for c in groups if any(job.name in outcomes for job in c.jobs)]
    chosen = having[0] if reference is None else find_configuration(groups, reference)
    if chosen not in having:
        raise InputError(
            f"--reference {reference} names {chosen.label!r}, of which {sweep.path} has no finished job; name one of "
            + "; ".join(repr(c.label) for c in having)
        )
    theirs = _outcomes(chosen, outcomes)
    score = default_score(theirs) if score is None else score
    results = [summarise_configuration(c, _outcomes(c, outcomes), theirs, score) for c in having]
    labels = {job.name: c.label for c in groups for job in c.jobs}
    return Comparison(
        sweep=sweep,
        classes=classes,
        configurations=tuple(results),
        reference=results[having.index(chosen)],
        score=score,
        left_out=tuple(
            _left_out(job, labels.get(job.name, ""), failures.get(job.name))
            for job in sweep.jobs
            if job.name not in outcomes or job.name not in labels
        ),
        missing=tuple(c.label for c in groups if c not in having),
    )


def _left_out(job: Job, configuration: str, failure: str | None) -> LeftOut:
    if failure is not None:
        return LeftOut(job, configuration, "not scored", failure)
    if job.state == "finished" or not configuration:
        return LeftOut(job, configuration, "repeated", "another job has its configuration and its seed")
    return LeftOut(job, configuration, job.state, job.sentence)


def _outcomes(configuration: Configuration, outcomes: Mapping[str, Outcome]) -> list[Outcome]:
    return [outcomes[job.name] for job in configuration.jobs if job.name in outcomes]
