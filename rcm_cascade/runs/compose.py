"""From overrides, as Hydra writes them, to a checked configuration, and to the names of its folders."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from rcm_cascade.errors import InputError
from rcm_cascade.models.registry import DESIGNS
from rcm_cascade.runs.config import TrainConfig, parse_config

CONFIG_NAME: Final = "train"
LONGEST_NAME: Final = 120
UNNAMED_KEYS: Final = frozenset(
    ("run", "logger", "data.root", "data.split_file", "data.cache_dir", "data.cache_gb", "data.num_workers", "extend")
)
"""Overrides that no folder is named after."""


ONLY_JOB: Final = "job"
"""Folder of the job of a sweep that has one."""


def config_folder() -> Path:
    """The configs: inside the installed package, or ``conf/`` of the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def run_dir(run: str | None, overrides: str) -> str:
    """The folder of a run: its name, else its overrides as a file name.

    Args:
        run: the key ``run``.
        overrides: as Hydra joins them: ``a=1,b=2``.
    """
    return str(Path("runs") / str(run or job_name(overrides) or "default"))  # YAML reads run=1 as a number


def job_name(overrides: str) -> str:
    """Overrides as a file name: without separators of folders, and not too long for a disk."""
    name = re.sub(r"[^\w=.,+-]+", "_", overrides).strip("_")
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
    return name


def job_folder(overrides: str) -> str:
    """Name of a job's folder in that of its sweep: what distinguishes it from the other jobs."""
    return job_name(overrides) or ONLY_JOB


def gpus(accelerator: str, devices: int | str) -> int | str | None:
    """GPUs a machine that Slurm is asked for: one a process, none to train on processors."""
    return None if accelerator == "cpu" else devices


def refuse_repeated(overrides: Sequence[str]) -> None:
    """Of two experiments Hydra would take the last, silently; of two values of a key that is what is expected.

    Raises:
        InputError: if there are two.
    """
    named = [override.partition("=")[2] for override in overrides if override.startswith("experiment=")]
    if len(named) > 1:
        raise InputError(
            f"experiment is given {len(named)} times, and only the last would count; give "
            f"'experiment=[{','.join(named)}]', of which later ones win where they differ, or one of them"
        )


def expand_home(overrides: Sequence[str]) -> list[str]:
    """Overrides with ``~`` as the user's folder; no shell expands it behind a ``=``, and Hydra cannot read it."""
    return [re.sub(r"(?<=[=,\[])~(?=/|,|\]|$)", lambda _: str(Path.home()), override) for override in overrides]


def compose_config(overrides: Sequence[str]) -> TrainConfig:
    """Composes and checks the configuration that overrides make, without running anything.

    Raises:
        InputError: naming the key that is wrong, and what exists or is allowed.
    """
    overrides = expand_home(overrides)
    refuse_repeated(overrides)
    with explained():
        return checked(composed(overrides))


def composed(overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """What Hydra composes, its own keys too if asked for."""
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        return compose(CONFIG_NAME, list(overrides), return_hydra_config=with_hydra)


def checked(composed: DictConfig) -> TrainConfig:
    """What Hydra composed, as a configuration.

    Raises:
        InputError: naming every wrong key.
    """
    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    return parse_config({str(key): value for key, value in plain.items()})


@contextmanager
def explained() -> Iterator[None]:
    """Turns what Hydra or OmegaConf raises into one sentence.

    Raises:
        InputError: in place of theirs.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explain(error)) from None


def explain(error: Exception) -> str:
    """Hydra's message as one sentence; for a key that does not exist, with those that do."""
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not of the form key=value; quote values with brackets or commas"
    for found in (error, error.__cause__):
        if isinstance(found, ConfigKeyError | ConfigAttributeError):
            node: Any = found.parent_node
            known = sorted(str(key) for key in node if key != "hydra") if isinstance(node, DictConfig) else []
            return f"{found.full_key}: no such key" + (f"; known are {', '.join(known)}" if known else "")
    if re.search(r"Could not find 'hydra/launcher/submitit_(slurm|local)'", str(error)):
        return "launcher=slurm needs submitit, which is not installed: pip install 'rcm-cascade[slurm]'"
    said = str(error).partition("Config search path:")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith("See https://hydra.cc"))


def base_depth(finest: int, levels: int, increment: int) -> int:
    """Poolings of the coarsest U-Net of a cascade whose finest has ``finest``; for sweeps that keep the latter."""
    return finest - (levels - 1) * increment


def level_weights(design: str) -> str | None:
    """The levels' weights in the loss, where the configuration gives none."""
    return DESIGNS[design].default_level_weights if design in DESIGNS else None


# At import, so that processes that a launcher starts, which import this module to find their job, have them too.
OmegaConf.register_new_resolver("rcm.gpus", gpus, replace=True)
OmegaConf.register_new_resolver("rcm.run_dir", run_dir, replace=True)
OmegaConf.register_new_resolver("rcm.job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("rcm.unnamed_keys", lambda: sorted(UNNAMED_KEYS), replace=True)
OmegaConf.register_new_resolver("rcm.level_weights", level_weights, replace=True)
OmegaConf.register_new_resolver("rcm.base_depth", base_depth, replace=True)
