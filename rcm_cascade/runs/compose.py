"""From overrides, as Hydra writes them, to a checked configuration, and to the names of its folders."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rcm_cascade.errors import InputError
from rcm_cascade.runs.config import TrainConfig, parse_config
from rcm_cascade.runs.plan import ONLY_JOB

CONFIG_NAME: Final = "train"
LONGEST_NAME: Final = 120
UNNAMED_KEYS: Final = frozenset(
    ("run", "logger", "data.root", "data.split_file", "data.cache_dir", "data.cache_gb", "data.num_workers", "extend")
)
"""Overrides that no folder is named after."""


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
    for override in overrides:
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            raise InputError(
                f"{override!r} is not of the form key=value; quote values with brackets or commas"
            ) from None
    with explained(), initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        return checked(compose(CONFIG_NAME, overrides=overrides))


def checked(composed: DictConfig) -> TrainConfig:
    """What Hydra composed, as a configuration.

    Raises:
        InputError: naming every wrong key.
    """
    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    return parse_config({str(k): v for k, v in plain.items() if k != "hydra"})


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
    if re.search(r"Could not find 'hydra/launcher/submitit_(slurm|local)'", str(error)):
        return "launcher=slurm needs submitit, which is not installed: pip install 'rcm-cascade[slurm]'"
    said = str(error).partition("Config search path:")[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
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


def base_depth(finest: int, levels: int, increment: int) -> int:
    """Poolings of the coarsest U-Net of a cascade whose finest has ``finest``; for sweeps that keep the latter."""
    return finest - (levels - 1) * increment


# At import, so that processes that a launcher starts, which import this module to find their job, have them too.
OmegaConf.register_new_resolver("rcm.gpus", gpus, replace=True)
OmegaConf.register_new_resolver("rcm.run_dir", run_dir, replace=True)
OmegaConf.register_new_resolver("rcm.job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("rcm.unnamed_keys", lambda: sorted(UNNAMED_KEYS), replace=True)
OmegaConf.register_new_resolver("rcm.base_depth", base_depth, replace=True)
