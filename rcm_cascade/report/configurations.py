"""Jobs that differ in their seed alone are one configuration."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rcm_cascade.errors import InputError
from rcm_cascade.runs.jobs import Job, Sweep

DEFAULT: Final = "default"
"""What a configuration is called that overrides nothing but what all jobs do."""

_UNTOLD: Final = re.compile(r"\+{0,2}(seed|run|logger|logger\..*|sweep|hydra\..*)=.*")
"""Overrides that make no other configuration."""


@dataclass(frozen=True)
class Configuration:
    """What is repeated over seeds.

    Args:
        label: its overrides, ``"model.levels=2, model.prior=logits"``, or `DEFAULT`.
        jobs: by seed; one a seed.
    """

    label: str
    jobs: tuple[Job, ...]


def group_jobs(sweep: Sweep) -> list[Configuration]:
    """The configurations of a sweep, in the order of their first jobs.

    Overrides that all jobs share name nothing, nor does the seed. Of two jobs of one configuration and seed the first
    that is finished counts.
    """
    told = {job.name: [o for o in job.overrides if not _UNTOLD.fullmatch(o)] for job in sweep.jobs}
    common = set.intersection(*(set(overrides) for overrides in told.values()))
    groups: dict[frozenset[str], list[Job]] = {}
    labels: dict[frozenset[str], str] = {}
    for job in sweep.jobs:
        own = [o for o in told[job.name] if o not in common]
        groups.setdefault(frozenset(own), []).append(job)
        labels.setdefault(frozenset(own), ", ".join(own) or DEFAULT)
    return [Configuration(labels[key], _one_a_seed(jobs)) for key, jobs in groups.items()]


def find_configuration(configurations: Sequence[Configuration], name: str) -> Configuration:
    """The configuration of a label, or the only one whose label holds ``name``.

    Raises:
        InputError: if there is none, or more than one.
    """
    exact = [c for c in configurations if c.label == name]
    found = exact or [c for c in configurations if name in c.label]
    if len(found) != 1:
        which = "none" if not found else "more than one"
        raise InputError(
            f"--reference {name} names {which} of the sweep's configurations; they are "
            + "; ".join(repr(c.label) for c in configurations)
        )
    return found[0]


def _one_a_seed(jobs: Sequence[Job]) -> tuple[Job, ...]:
    chosen: dict[int, Job] = {}
    for job in sorted(jobs, key=lambda job: (job.seed, job.state != "finished", job.name)):
        chosen.setdefault(job.seed, job)
    return tuple(chosen.values())
