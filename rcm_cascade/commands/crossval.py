"""`rcm-cascade crossval`: the same training once a fold, and what the held-out mosaics of all folds give together."""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from rich.console import Console

from rcm_cascade.commands.crossval_designs import comparison_table, write_comparison
from rcm_cascade.commands.crossval_report import pool_designs, write_pooled, write_table
from rcm_cascade.commands.evaluate import evaluate
from rcm_cascade.commands.fold_files import Folds, settle_folds
from rcm_cascade.commands.out_of_fold import FoldRun
from rcm_cascade.data.folds import FoldRule, Rule
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import read_split
from rcm_cascade.errors import InputError
from rcm_cascade.models.dynunet import require_monai
from rcm_cascade.report.table import format_table
from rcm_cascade.runs.compose import UNNAMED_KEYS, compose_config, run_dir
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import find_dataset
from rcm_cascade.runs.folder import FolderInUseError, state_of, write_json
from rcm_cascade.runs.jobs import FAILURE_FILE
from rcm_cascade.runs.plan import Job, SweepPlan
from rcm_cascade.runs.train import train

DEFAULT_FOLDS: Final = 5


@dataclass(frozen=True)
class Request:
    """What is to be cross-validated, and how.

    Args:
        overrides: as for `rcm-cascade train`; ``seed`` may name several: ``seed=0,1``.
        rule: how folds are made.
        folds: how many, by patient; None: `DEFAULT_FOLDS`.
        repeats: of the paper's rule; None: `DEFAULT_FOLDS`.
        out: name of the folder below ``runs/``; None: made of rule and overrides.
        designs: values of ``model`` to compare on the same folds and seeds, the first being the reference; empty: one
            design, the overrides'.
    """

    overrides: Sequence[str]
    rule: Rule = "patients"
    folds: int | None = None
    repeats: int | None = None
    out: str | None = None
    designs: Sequence[str] = ()

    @property
    def count(self) -> int | None:
        """How many folds are asked for; None where the sites say it.

        Raises:
            InputError: if a number is given that the rule has no use for.
        """
        for name, given, rule in (("--folds", self.folds, "patients"), ("--repeats", self.repeats, "paper")):
            if given is not None and self.rule != rule:
                raise InputError(f"{name} {given} has no meaning with --rule {self.rule}; leave it out")
        if self.rule == "sites":
            return None
        given = self.folds if self.rule == "patients" else self.repeats
        return DEFAULT_FOLDS if given is None else given


def crossval(request: Request) -> int:
    """Trains and tests every fold with every seed, and pools; what is done already stays.

    Returns:
        How many runs failed. Each fails alone, the others are run, and it is named at the end.

    Raises:
        InputError: if the request, the data or the folder is wrong, before anything is trained.
    """
    told, seeds = _take_seeds(_take_overrides(request))
    pairs = [(design, seed) for design in request.designs or ("",) for seed in seeds or (None,)]
    configs = [_compose(_of_design(told, design), seed) for design, seed in pairs]
    rule = FoldRule(request.rule, request.count, configs[0].data.split_seed)
    folder = _folder(request, told)
    dataset = read_dataset(find_dataset(configs[0].data))
    with _alone(folder):
        folds = settle_folds(folder, dataset, configs[0].data, rule)
        runs = [
            FoldRun(folder, design, fold, seed)
            for design in request.designs or ("",)
            for seed in seeds or (configs[0].seed,)
            for fold in range(len(folds.splits))
        ]
        of_run = {run: compose_config(_overrides(run, folds, told)) for run in runs}
        for run, config in of_run.items():
            state_of(run.run, config)
        _plan(folder, request.overrides, told, runs).write(folder)
        failures = {}
        for run, config in of_run.items():
            try:
                _run(run, folds, config)
            except Exception as error:  # a fold that fails, fails alone
                failures[run] = _tell_failure(run, error)
        _report(folds, runs, failures, told)
    for run, sentence in failures.items():
        print(f"error: {run.run.path} failed: {sentence}", file=sys.stderr)
    return len(failures)


def _report(folds: Folds, runs: Sequence[FoldRun], failures: Mapping[FoldRun, str], told: Sequence[str]) -> None:
    """Writes what the runs came to, and prints the table and where it lies."""
    write_table(folds, runs, failures)
    pooled = pool_designs(folds, runs, failures)
    console = Console()
    for own in pooled:
        out = folds.folder / own.design
        summary = write_pooled(out, folds, own, told)
        console.print(format_table(summary, folds.dataset.classes, own.design))
        print(out / "report.html")
    if len(pooled) > 1:
        console.print(comparison_table(write_comparison(folds, pooled, told)))
        print(folds.folder / "report.html")


def _run(run: FoldRun, folds: Folds, config: TrainConfig) -> None:
    print(f"{run.run.path}: fold {run.fold}, seed {run.seed}", file=sys.stderr)
    train(config, run.run.path)
    split = folds.splits[run.fold]
    used = read_split(run.run.split)  # fewer mosaics than the fold's, with data.labelled_fraction
    if any(split.get(mosaic) != part for mosaic, part in used.items()) or not set(folds.tested(run.fold)) <= set(used):
        raise InputError(
            f"run folder {run.run.path} was made with another split than {folds.file(run.fold)}; delete it to train "
            "that fold again"
        )
    if not run.is_evaluated:
        evaluate(run.run.best, folds.dataset.root, "test", None)
    (run.run.path / FAILURE_FILE).unlink(missing_ok=True)


def _overrides(run: FoldRun, folds: Folds, told: Sequence[str]) -> list[str]:
    quoted = str(folds.file(run.fold)).replace("\\", "\\\\").replace("'", "\\'")
    return [*_of_design(told, run.design), f"data.split_file='{quoted}'", f"seed={run.seed}"]


def _tell_failure(run: FoldRun, error: Exception) -> str:
    print(f"error: {run.run.path} failed: {error}", file=sys.stderr)
    if not isinstance(error, InputError):
        traceback.print_exception(error)
    traceback.clear_frames(error.__traceback__)  # they hold the failed run's tensors
    sentence = str(error) or type(error).__name__
    if not isinstance(error, FolderInUseError):
        write_json(run.run.path / FAILURE_FILE, {"error": sentence})
    return sentence


def _take_overrides(request: Request) -> list[str]:
    """The overrides, none of which crossval sets itself."""
    overrides = [o.replace("=~/", f"={Path.home()}/", 1) for o in request.overrides]  # no shell expands it there
    remedies = {
        "data.split_file": "crossval makes the splits; leave it out, or train one split with `rcm-cascade train`",
        "run": "the folder of a cross-validation is named with --out NAME",
        "launcher": "crossval trains here, fold after fold; leave it out",
        "sweep": "crossval trains one configuration; leave it out, or compare models with --designs",
    }
    if request.designs:
        remedies["model"] = "--designs names the models; leave it out"
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key in remedies:
            raise InputError(f"{override}: {remedies[key]}")
    if "" in request.designs:
        raise InputError(f"--designs {','.join(request.designs)} has an empty name; separate names by one comma")
    if len(set(request.designs)) != len(request.designs):
        raise InputError(f"--designs {','.join(request.designs)} names a model twice; name each once")
    return overrides


def _take_seeds(overrides: Sequence[str]) -> tuple[list[str], list[int]]:
    """The overrides without ``seed=0,1``, and its values; none where it is not given."""
    named = [o for o in overrides if o.split("=")[0] == "seed"]
    seeds = []
    for value in [v for o in named for v in o.partition("=")[2].split(",")]:
        try:
            seeds.append(int(value))
        except ValueError:
            raise InputError(f"seed: got {value!r}; expected whole numbers, such as seed=0,1,2") from None
    return [o for o in overrides if o not in named], list(dict.fromkeys(seeds))


def _of_design(told: Sequence[str], design: str) -> list[str]:
    return [*told, f"model={design}"] if design else list(told)


def _compose(overrides: Sequence[str], seed: int | None) -> TrainConfig:
    config = compose_config([*overrides, *([] if seed is None else [f"seed={seed}"])])
    if config.model.network == "dynunet":
        require_monai()  # before every other design has been trained
    if config.trainer.devices != 1:
        raise InputError(
            f"crossval with trainer.devices={config.trainer.devices} would start all folds again in every process; "
            "cross-validate with trainer.devices=1"
        )
    return config


def _folder(request: Request, told: Sequence[str]) -> Path:
    """Named after rule and overrides unless it has a name; not after the seeds, so that one can be added later."""
    if request.out is not None:
        if not request.out or Path(request.out).is_absolute() or ".." in Path(request.out).parts:
            raise InputError(f"--out {request.out} leads out of runs/; give a plain name")
        return Path("runs") / request.out
    rule = "-".join(["crossval", request.rule, *([] if request.count is None else [str(request.count)])])
    designs = [f"designs={'+'.join(request.designs)}"] if request.designs else []
    return Path(run_dir(None, ",".join([rule, *designs, *(o for o in told if o.split("=")[0] not in UNNAMED_KEYS)])))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"folder {folder} is in use by another process; wait for it, or choose another with --out NAME"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _plan(folder: Path, given: Sequence[str], told: Sequence[str], runs: Sequence[FoldRun]) -> SweepPlan:
    """The record by which `rcm-cascade report` knows the runs."""
    jobs = (
        Job(
            run.run.path.name,
            (*_of_design(told, run.design), f"data.split_file=fold{run.fold}.csv", f"seed={run.seed}"),
        )
        for run in runs
    )
    return SweepPlan(folder.name, tuple(given), tuple(jobs), fixed=())
