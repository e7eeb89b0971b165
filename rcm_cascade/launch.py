"""Runs a task for one configuration, or for each of a sweep, here or wherever Hydra's launcher puts it."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from rcm_cascade.config import TrainConfig, config_hash
from rcm_cascade.errors import InputError
from rcm_cascade.hydra_entry import (
    CONFIG_NAME,
    UNNAMED_KEYS,
    checked,
    compose_config,
    config_folder,
    explain,
    job_folder,
    run_dir,
)
from rcm_cascade.runs import RunFolder, write_json
from rcm_cascade.sweeps.jobs import FAILURE_FILE
from rcm_cascade.sweeps.plan import SELECTOR, SweepPlan, plan_sweep, split_jobs
from rcm_cascade.sweeps.sharing import link_twin

SWEEP_FLAGS: Final = ("--multirun", "-m")
HELP_FLAGS: Final = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i")


def main(overrides: Sequence[str], task: Callable[[TrainConfig, Path], Any]) -> None:
    """Runs a task for the configuration, or for each one of a sweep (``--multirun``, or a ``+sweep=NAME``).

    Args:
        overrides: what follows ``rcm-cascade train`` on the command line, Hydra's own flags too.
        task: called with each checked configuration and its run folder; can be pickled, for launchers that start
            processes.

    A job of a sweep that is finished anywhere in ``runs/`` is not run again. One that fails, fails alone: the others
    run, and it is named at the end.

    Raises:
        InputError: before anything is run, if any configuration is wrong; or because of what a task said.
    """
    overrides = [o.replace("=~/", f"={Path.home()}/", 1) for o in overrides]  # no shell expands it there
    if any(a in HELP_FLAGS for a in overrides):
        _hydra([sys.argv[0], *overrides], _Job(task, sweep=False))
        return
    values = [a for a in overrides if a not in SWEEP_FLAGS]
    if len(values) == len(overrides) and not any(v.lstrip("+").startswith(f"{SELECTOR}=") for v in values):
        _check([values])
        job = _Job(task, sweep=False)
        _hydra([sys.argv[0], *values], job)
        if job.error is not None:
            raise job.error
        return
    plan, folder = _plan(values)
    plan.write(folder)
    unnamed = ",".join(key for key in plan.fixed if not key.startswith("hydra"))
    named = f"hydra.job.config.override_dirname.exclude_keys=[{unnamed}]"
    _hydra(
        [sys.argv[0], *values, f"hydra.sweep.dir='{folder}'", named, SWEEP_FLAGS[0]],  # Hydra wants the flag last
        _Job(task, sweep=True),
    )
    failures = {job.folder: error for job in plan.jobs if (error := _failure(folder / job.folder)) is not None}
    if failures:
        raise InputError("; ".join(f"{folder / name} failed: {error}" for name, error in failures.items()))


class _Job:
    """What Hydra calls with each configuration, here or in a process that a launcher starts."""

    def __init__(self, task: Callable[[TrainConfig, Path], Any], sweep: bool) -> None:
        self.task, self.sweep = task, sweep
        self.arguments, self.process = list(sys.argv), os.getpid()
        self.error: Exception | None = None

    def __call__(self, composed: DictConfig) -> None:
        if os.getpid() == self.process:
            sys.argv = self.arguments  # Lightning starts DDP children from sys.argv
        folder = Path(HydraConfig.get().runtime.output_dir)
        if Path.cwd() in folder.parents:
            folder = folder.relative_to(Path.cwd())
        try:
            config = checked(composed)
            if self.sweep:
                link_twin(folder, config_hash(config), Path("runs"))
            self.task(config, folder)
        except Exception as error:  # Hydra would end the sweep, or print its own report and exit
            self.error = error
            if self.sweep:
                write_json(folder / FAILURE_FILE, {"error": str(error) or type(error).__name__})
                print(f"error: {folder} failed: {error}", file=sys.stderr)
                if not isinstance(error, InputError):
                    traceback.print_exception(error)
        else:
            (folder / FAILURE_FILE).unlink(missing_ok=True)


def _hydra(argv: list[str], job: _Job) -> None:
    """Gives a job to Hydra, which reads sys.argv."""
    run = hydra.main(config_path=str(config_folder().resolve()), config_name=CONFIG_NAME, version_base="1.3")(job)
    before, sys.argv = sys.argv, argv
    try:
        run()
    finally:
        sys.argv = before


def _plan(values: Sequence[str]) -> tuple[SweepPlan, Path]:
    """The jobs of a sweep, all checked before Hydra makes a folder, so that a mistake leaves nothing behind."""
    choices = [v for v in values if v.lstrip("+").split("=")[0] in (SELECTOR, "launcher") or v.startswith("hydra")]
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            composed = compose(CONFIG_NAME, overrides=choices, return_hydra_config=True)
        params = composed.hydra.sweeper.params or {}
        jobs = split_jobs(values, {str(key): params[key] for key in params})
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explain(error)) from None
    configs = _check(jobs)
    slurm = "slurm" in str(composed.hydra.runtime.choices.get("hydra/launcher"))
    for config in configs:
        if config.trainer.devices != 1 and not slurm:
            raise InputError(
                f"--multirun with trainer.devices={config.trainer.devices} would start the whole sweep again in every "
                "process; sweep with trainer.devices=1 or launcher=slurm, or train one configuration on several devices"
            )
    folder = Path(_sweep_dir(values))
    return plan_sweep(folder.name, values, jobs, job_folder), folder


def _failure(folder: Path) -> str | None:
    """Why a job is not finished; None if it is."""
    if RunFolder(folder).result.is_file():
        return None
    if (folder / FAILURE_FILE).is_file():
        return str(json.loads((folder / FAILURE_FILE).read_text())["error"])
    return "ended without a result; the same command goes on with it"


def _check(jobs: Sequence[Sequence[str]]) -> list[TrainConfig]:
    """Composes every job once, without running any."""
    configs = []
    for job in jobs:
        config = compose_config([override for override in job if not override.startswith(("hydra", "-"))])
        run_dir(config.run, "")
        configs.append(config)
    return configs


def _sweep_dir(overrides: Sequence[str]) -> str:
    """One folder for all jobs of a sweep, named as a run's is."""
    named = dict(o.split("=", 1) for o in overrides if "=" in o)
    told = [o for o in overrides if o.split("=")[0] not in {*UNNAMED_KEYS, "launcher"} and not o.startswith("hydra")]
    return run_dir(named.get("run"), ",".join(o.lstrip("+").removeprefix(f"{SELECTOR}=") for o in told))
