"""Runs a task for one configuration, or for each of a sweep, here or wherever Hydra's launcher puts it."""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rcm_cascade.errors import InputError, JobsFailedError
from rcm_cascade.files import write_json, write_text
from rcm_cascade.runs import compose
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import FOLDS_FILE, Folds, dataset_folder, load_training_data
from rcm_cascade.runs.folder import FolderInUseError, RunFolder, link_twin, state_of
from rcm_cascade.runs.jobs import FAILURE_FILE, SELECTOR, name_jobs, read_sweep, split_jobs, sweep_params, write_sweep
from rcm_cascade.training.ranks import rank, started

SWEEP_FLAGS: Final = ("--multirun", "-m")
EVERY_FOLD: Final = "data.fold=all"
HELP_FLAGS: Final = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i")


Task = Callable[[TrainConfig, Path], Any]
Identify = Callable[[TrainConfig], Mapping[str, str] | None]


def launch(overrides: Sequence[str], task: Task, identify: Identify = lambda _: {}) -> None:
    """Runs a task for the configuration, or for each one of a sweep (``--multirun``, or a ``+sweep=NAME``).

    Args:
        overrides: what follows ``rcm-cascade train`` on the command line, Hydra's own flags too.
        task: called with each checked configuration and its run folder; can be pickled, for launchers that start
            processes.
        identify: the data of a configuration, in which, too, a finished run's result.json must agree for a job to be
            the same, see `changed_data`; None: there is no data yet.

    A job of a sweep that is finished anywhere in ``runs/`` is not run again. One that fails, fails alone: the others
    run, and it is named at the end.

    Raises:
        InputError: before anything is run, if any configuration is wrong or a job's folder holds another run; or
            because of what the task of a single run said.
        JobsFailedError: after a sweep, naming the jobs that have no result and why.
    """
    sweep = any(a in SWEEP_FLAGS or a.lstrip("+").startswith(f"{SELECTOR}=") for a in overrides)
    overrides = compose.as_typed(overrides, sweep)
    if any(a in HELP_FLAGS for a in overrides):
        if any(a in SWEEP_FLAGS for a in overrides):
            raise InputError("Hydra shows or explains one configuration at a time; leave --multirun out")
        with compose.explained():
            compose.composed([a for a in overrides if "=" in a and not a.startswith("-")])
        _hydra([sys.argv[0], *overrides], _HydraTask(task, identify))
        return
    values = [a for a in overrides if a not in SWEEP_FLAGS]
    if not sweep:
        for value in values:
            if value.startswith("launcher=") and value != "launcher=here":
                raise InputError(f"{value} submits the jobs of a sweep; add --multirun, or leave it out to train here")
        (config,) = _check([values])
        with compose.explained():
            folder = Path(compose.composed(values, with_hydra=True).hydra.run.dir)
        task(config, folder)
        return
    plan = plan_sweep(values)
    folder = plan.folder
    for name in plan.jobs:
        gone = folder / name
        if gone.is_symlink() and not gone.exists():
            gone.unlink()  # the sweep that it pointed into was deleted
    if plan.folds is not None:
        print(*plan.folds.describe(), sep="\n", file=sys.stderr)
        write_text(folder / FOLDS_FILE, plan.folds.to_csv())
    write_sweep(folder, values, plan.jobs)
    place = f"hydra.sweep.dir={compose.quoted(str(folder))}"
    argv = [sys.argv[0], *plan.overrides, place, SWEEP_FLAGS[0]]  # the flag comes last
    with suppress(SystemExit):  # a launcher lost a job; the folders say which
        _hydra(argv, _HydraTask(task, identify))
    lost = "ended without a result; the same command goes on with it"
    unfinished = [job for job in read_sweep(folder).jobs if job.state != "finished"]
    if unfinished:
        sentences = [f"{j.folder.path} failed: {j.sentence if j.state == 'failed' else lost}" for j in unfinished]
        raise JobsFailedError("; ".join(sentences))


@dataclass(frozen=True)
class _HydraTask:
    """What Hydra calls with each configuration of a sweep, here or in a process that a launcher starts."""

    task: Task
    identify: Identify

    def __call__(self, found: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if Path.cwd() in folder.parents:
            folder = folder.relative_to(Path.cwd())
        try:
            config = compose.checked(found)
            twin = link_twin(folder, config, partial(self.identify, config), Path("runs"))
            if twin is None or rank() == 0:  # which says that it is finished
                self.task(config, folder)
        except Exception as error:  # Hydra would end the sweep
            if not isinstance(error, FolderInUseError) and (rank() == 0 or not (folder / FAILURE_FILE).exists()):
                write_json(folder / FAILURE_FILE, {"error": str(error) or type(error).__name__})
            print(f"error: {folder} failed: {error}", file=sys.stderr)
            if not isinstance(error, InputError):
                traceback.print_exception(error)
            traceback.clear_frames(error.__traceback__)  # they hold the failed job's tensors
            if started() is not None:
                sys.exit(1)  # Hydra would end this process well, and the others would wait for it
        else:
            if rank() == 0:
                (folder / FAILURE_FILE).unlink(missing_ok=True)


def _hydra(argv: list[str], job: _HydraTask) -> None:
    """Gives a job to Hydra, which reads sys.argv."""
    conf = str(compose.config_folder().resolve())
    run = hydra.main(config_path=conf, config_name=compose.CONFIG_NAME, version_base="1.3")(job)
    before, sys.argv = sys.argv, argv
    try:
        run()
    finally:
        sys.argv = before


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to run.

    Args:
        folder: of the sweep.
        jobs: the overrides of each, by the name of its folder.
        overrides: of the whole, for Hydra.
        folds: that its jobs test, if it runs each.
    """

    folder: Path
    jobs: Mapping[str, Sequence[str]]
    overrides: Sequence[str]
    folds: Folds | None


def plan_sweep(values: Sequence[str]) -> Plan:
    """The jobs of a sweep, all checked before Hydra makes a folder, so that a mistake leaves nothing behind.

    Raises:
        InputError: if any of them is wrong, or its folder holds another run.
    """
    choosing = (SELECTOR, "launcher", "run")
    choices = [v for v in values if v.lstrip("+").split("=")[0] in choosing or v.startswith("hydra")]
    given = [v.partition("=")[0] for v in choices]
    if "hydra.sweep.subdir" in given:
        raise InputError("hydra.sweep.subdir is rcm-cascade's, which finds the jobs by it; leave it out")
    with compose.explained():
        chosen = compose.composed(choices, with_hydra=True)
        found = chosen.hydra
        params = {str(key): value for key, value in (found.sweeper.params or {}).items()}
        jobs = split_jobs(values, params)
        folder = Path(found.sweep.dir if "hydra.sweep.dir" in given else _sweep_dir(chosen.run, values))
    folds = None
    if any(EVERY_FOLD in job for job in jobs):
        folds = _draw_folds(folder, _check([["data.fold=0" if o == EVERY_FOLD else o for o in job] for job in jobs]))
        values = [*values, f"data.fold={','.join(map(str, range(len(folds.splits))))}"]
        jobs = split_jobs(values, params)
    slurm = "slurm" in str(found.runtime.choices.get("hydra/launcher"))
    configs = _check(jobs)
    for config in configs:
        if (config.trainer.devices != 1 or config.trainer.nodes != 1) and not slurm:
            raise InputError(
                f"--multirun with trainer.devices={config.trainer.devices} trainer.nodes={config.trainer.nodes} would "
                "start the whole sweep again in every process; sweep with trainer.devices=1 or launcher=slurm, or "
                "train one configuration on several devices"
            )
        if config.trainer.devices == "auto" and slurm:
            raise InputError("launcher=slurm asks for trainer.devices GPUs a machine; give their number, not auto")
    named, fixed = name_jobs(jobs)
    for name, config in zip(named, configs, strict=True):
        state_of(RunFolder(folder / name), config)
    unnamed = ",".join(key for key in fixed if not key.startswith("hydra"))
    values = ["hydra.sweeper.params=null", *sweep_params(params), *values]
    return Plan(folder, named, [*values, f"hydra.job.config.override_dirname.exclude_keys=[{unnamed}]"], folds)


def _draw_folds(folder: Path, configs: Sequence[TrainConfig]) -> Folds:
    """The folds of a sweep's data set, the same for all its jobs and whenever its command is given.

    Raises:
        InputError: if the jobs have several data sets or kinds of folds, or the folder holds other folds.
    """
    data = configs[0].data
    if len({(dataset_folder(c.data), c.data.fold_rule, c.data.working_pixel_size_um) for c in configs}) > 1:
        raise InputError("data.fold=all is for one data set and one way of folding it; sweep over these one at a time")
    loaded = load_training_data(data)
    assert loaded.folds is not None
    written = folder / FOLDS_FILE
    if written.is_file() and written.read_text(encoding="utf-8") != loaded.folds.to_csv():
        raise InputError(
            f"{written} holds other folds than {loaded.dataset.root} makes now: the data set or the way of folding it "
            "has changed; choose another folder with run=NAME, or delete this one"
        )
    return loaded.folds


def _check(jobs: Sequence[Sequence[str]]) -> list[TrainConfig]:
    """Composes every job once, without running any."""
    return [compose.compose_config([o for o in job if not o.startswith(("hydra", "-"))]) for job in jobs]


def _sweep_dir(run: str | None, overrides: Sequence[str]) -> str:
    """One folder for all jobs of a sweep, named as a run's is."""
    unnamed = {*compose.UNNAMED_KEYS, "launcher"}
    naming = [o for o in overrides if o.split("=")[0] not in unnamed and not o.startswith("hydra")]
    return compose.run_dir(run, ",".join(o.lstrip("+").removeprefix(f"{SELECTOR}=") for o in naming))
