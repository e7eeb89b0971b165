from pathlib import Path

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.report.configurations import Configuration, find_configuration, group_jobs
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.jobs import Job, State, Sweep


def job(name: str, *overrides: str, seed: int = 0, state: State = "finished") -> Job:
    return Job(name, RunFolder(Path(name)), overrides, seed, state, "")


def sweep(*jobs: Job) -> Sweep:
    return Sweep(Path("s"), "s", jobs)


def names(configurations: list[Configuration]) -> dict[str, list[str]]:
    return {c.label: [j.name for j in c.jobs] for c in configurations}


def test_seed_and_what_all_share_make_no_configuration() -> None:
    jobs = [
        job("a1", "+experiment=x", "model=cascade", "seed=1", "run=a", "logger=csv", seed=1),
        job("b0", "+experiment=x", "model=ensemble", "seed=0", "hydra.verbose=true"),
        job("a0", "+experiment=x", "model=cascade", "+seed=0", "logger.group=g"),
    ]
    assert names(group_jobs(sweep(*jobs))) == {"model=cascade": ["a0", "a1"], "model=ensemble": ["b0"]}


def test_a_job_that_overrides_nothing_of_its_own_is_the_default() -> None:
    jobs = [job("a", "x=1", "seed=0"), job("b", "x=1", "model.levels=2", "model.prior=logits")]
    assert names(group_jobs(sweep(*jobs))) == {"default": ["a"], "model.levels=2, model.prior=logits": ["b"]}
    assert names(group_jobs(sweep(jobs[1]))) == {"default": ["b"]}


def test_overrides_in_another_order_are_the_same_configuration() -> None:
    jobs = [job("a", "x=1", "y=2", "seed=0"), job("b", "y=2", "x=1", "seed=1", seed=1), job("c", "z=3")]
    assert names(group_jobs(sweep(*jobs))) == {"x=1, y=2": ["a", "b"], "z=3": ["c"]}


def test_of_two_jobs_of_one_seed_the_finished_one_counts() -> None:
    jobs = [job("a", "x=1", state="failed"), job("b", "x=1"), job("c", "x=1"), job("d", "x=2")]
    assert names(group_jobs(sweep(*jobs))) == {"x=1": ["b"], "x=2": ["d"]}


def test_a_configuration_is_found_by_its_label_or_a_part_that_it_alone_has() -> None:
    made = [Configuration(label, (job("j"),)) for label in ("m=1", "m=1, p=2", "m=3, p=4")]
    assert find_configuration(made, "m=1") is made[0]
    assert find_configuration(made, "m=3") is made[2]
    assert find_configuration(made, "p=2") is made[1]
    with pytest.raises(InputError, match=r"more than one .* 'm=1'; 'm=1, p=2'; 'm=3, p=4'"):
        find_configuration(made, "p=")
    with pytest.raises(InputError, match="names none"):
        find_configuration(made, "q")
