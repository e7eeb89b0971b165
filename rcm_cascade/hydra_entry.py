"""From Hydra's command line to a checked configuration; nothing below this module knows of Hydra."""

import hashlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rcm_cascade.config import TrainConfig, parse_config
from rcm_cascade.errors import InputError

CONFIG_NAME: Final = "train"
LONGEST_NAME: Final = 120
SWEEP_FLAGS: Final = ("--multirun", "-m")
UNNAMED_KEYS: Final = frozenset(
    ("run", "logger", "data.root", "data.split_file", "data.cache_dir", "data.cache_gb", "data.num_workers")
)
"""Overrides that no folder is named after; conf/train.yaml has the same list for Hydra."""


def config_folder() -> Path:
    """The configs: inside the installed package, or ``conf/`` of the checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def run_dir(run: str | None, overrides: str) -> str:
    """The folder of a run: its name, else its overrides as a file name.

    Args:
        run: the key ``run``.
        overrides: as Hydra joins them: ``a=1,b=2``.

    Raises:
        InputError: if the name leads out of ``runs/``.
    """
    if run:
        run = str(run)  # a number, as YAML reads run=1
        if Path(run).is_absolute() or ".." in Path(run).parts:
            raise InputError(f"run={run} leads out of runs/; give a plain name")
        return str(Path("runs") / run)
    return str(Path("runs") / (job_name(overrides) or "default"))


def job_name(overrides: str) -> str:
    """Overrides as a file name: without separators of folders, and not too long for a disk."""
    name = re.sub(r"[^\w=.,+-]+", "_", overrides).strip("_")
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
    return name


def compose_config(overrides: Sequence[str]) -> TrainConfig:
    """Composes and checks the configuration that overrides make, without running anything.

    Raises:
        InputError: naming the key that is wrong, and what exists or is allowed.
    """
    _register_resolvers()
    for override in overrides:
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            raise InputError(
                f"{override!r} is not of the form key=value; quote values with brackets or commas"
            ) from None
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            return _checked(compose(CONFIG_NAME, overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_explain(error)) from None


def main(overrides: Sequence[str], task: Callable[[TrainConfig, Path], Any]) -> None:
    """Runs a task for the configuration, or for each one of a sweep (``--multirun``).

    Args:
        overrides: what follows ``rcm-cascade train`` on the command line, Hydra's own flags too.
        task: called with each checked configuration and its run folder.

    One job of a sweep that fails, fails alone: the others run, and it is named at the end.

    Raises:
        InputError: before anything is run, if any configuration is wrong; or because of what a task said.
    """
    overrides = [o.replace("=~/", f"={Path.home()}/", 1) for o in overrides]  # no shell expands it there
    _check_all(overrides)
    whole = list(sys.argv)
    failures: dict[str, Exception] = {}
    sweep = _is_sweep(overrides)

    @hydra.main(config_path=str(config_folder().resolve()), config_name=CONFIG_NAME, version_base="1.3")
    def run(composed: DictConfig) -> None:
        sys.argv = whole  # Lightning starts DDP children from sys.argv
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            task(_checked(composed), folder)
        except Exception as error:  # Hydra would end the sweep, or print its own report and exit
            failures[str(folder)] = error
            if sweep:
                print(f"error: {folder} failed: {error}", file=sys.stderr)
                if not isinstance(error, InputError):
                    traceback.print_exception(error)

    if sweep:  # Hydra wants the flag behind the overrides
        values = [a for a in overrides if a not in SWEEP_FLAGS]
        overrides = [*values, f"hydra.sweep.dir='{_sweep_dir(values)}'", SWEEP_FLAGS[0]]
    with _arguments([whole[0], *overrides]):
        run()
    if not sweep:
        for error in failures.values():
            raise error
    if failures:
        raise InputError("; ".join(f"{folder} failed: {error}" for folder, error in failures.items()))


def _checked(composed: DictConfig) -> TrainConfig:
    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    return parse_config({str(k): v for k, v in plain.items() if k != "hydra"})


def _check_all(arguments: Sequence[str]) -> None:
    """Composes every job once before Hydra makes its folder, so that a mistake leaves nothing behind."""
    overrides = [a for a in arguments if not a.startswith("-")]
    if any(a in ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i") for a in arguments):
        return
    try:
        if _is_sweep(arguments):
            parsed = OverridesParser.create().parse_overrides(overrides)
            jobs = [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
        else:
            jobs = [overrides]
    except HydraException as error:
        raise InputError(_explain(error)) from None
    for job in jobs:
        config = compose_config([override for override in job if not override.startswith("hydra.")])
        run_dir(config.run, "")
        if _is_sweep(arguments) and config.trainer.devices != 1:
            raise InputError(
                f"--multirun with trainer.devices={config.trainer.devices} would start the whole sweep again in every "
                "process; sweep with trainer.devices=1, or train one configuration on several devices"
            )


def _sweep_dir(overrides: Sequence[str]) -> str:
    """One folder for all jobs of a sweep, named as a run's is."""
    named = dict(o.split("=", 1) for o in overrides if "=" in o)
    told = [o for o in overrides if o.split("=")[0] not in UNNAMED_KEYS and not o.startswith("hydra.")]
    return run_dir(named.get("run"), ",".join(told))


def _is_sweep(arguments: Sequence[str]) -> bool:
    return any(a in SWEEP_FLAGS for a in arguments)


def _explain(error: Exception) -> str:
    """Hydra's message as one sentence; for a key that does not exist, with those that do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith("See https://hydra.cc"))
    missing = re.search(
        r"Could not override '([\w.@/]+)'|Key '([\w.]+)' is not in struct full_key: ([\w.]+)", str(text)
    )
    if missing:
        key = missing[1] or missing[3]
        parent, _, name = key.rpartition(".")
        while not (known := _keys_of(parent)):
            parent, _, name = parent.rpartition(".")
        where = f"{parent}." if parent else ""
        return f"{where}{name}: no such key; known are {', '.join(known)}"
    return text


def _keys_of(parent: str) -> list[str]:
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        node: Any = compose(CONFIG_NAME)
    if parent:
        node = OmegaConf.select(node, parent)
    return sorted(str(k) for k in node) if isinstance(node, DictConfig) else []


def _register_resolvers() -> None:
    OmegaConf.register_new_resolver("rcm.run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("rcm.job_name", job_name, replace=True)


@contextmanager
def _arguments(argv: list[str]) -> Iterator[None]:
    """Hydra parses sys.argv; it must see the overrides alone."""
    _register_resolvers()
    before, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = before
