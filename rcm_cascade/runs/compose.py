"""From overrides, as Hydra writes them, to a checked configuration, and to the names of its folders."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, errors
from pydantic import BaseModel
from yaml import MarkedYAMLError

from rcm_cascade.errors import InputError
from rcm_cascade.models.registry import DESIGNS
from rcm_cascade.runs.config import TrainConfig, parse_config

CONFIG_NAME: Final = "train"
LONGEST_NAME: Final = 120
UNNAMED_KEYS: Final = frozenset(
    ("run", "logger", "data.root", "data.split_file", "data.cache_dir", "data.cache_gb", "data.num_workers", "extend")
)
"""Overrides that no folder is named after."""


FOLDER_KEYS: Final = frozenset(("run", "hydra.run.dir", "hydra.sweep.dir"))
"""Keys that name the folder of a run or of a whole sweep, and are never swept over."""

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
    name = "" if run is None else str(run)  # Hydra reads run=0 as a number
    return str(Path("runs") / (name or job_name(overrides) or "default"))


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


def as_typed(overrides: Sequence[str], sweep: bool = False) -> list[str]:
    """Overrides that Hydra reads as they are typed: paths and names, see `text_keys`, are quoted where they need it.

    Left as they are: ``null``, what is quoted for Hydra already, and ``${…}`` where OmegaConf can read it and no such
    path exists. In a sweep, commas and ``choice(…)`` give several values, but in ``run``, which names the whole, and in
    a path that exists. ``~`` is the user's folder; no shell expands it behind a ``=``, and Hydra cannot read it.

    Args:
        overrides: of the command line or of `as_typed`, Hydra's flags among them.
        sweep: whether they are a sweep's.
    """
    return [_as_typed(override, sweep) for override in overrides]


def _as_typed(override: str, sweep: bool) -> str:
    key, given, value = override.partition("=")
    name = key.lstrip("+")
    if not given or name not in text_keys():
        return re.sub(r"(?<=[=,\[])~(?=/|,|\]|$)", lambda _: str(Path.home()), override)
    values = [value]
    if sweep and name not in FOLDER_KEYS and not os.path.lexists(value):
        if re.fullmatch(r"(choice|shuffle|sort|tag)\(.*\)", value):
            return override
        values = [found[0].strip() for found in _VALUE.finditer(value)]
    return f"{key}={','.join(map(_text, values))}"


_QUOTED: Final = r"""(?P<quote>['"])(?:\\.|(?!(?P=quote))[^\\])*(?P=quote)"""
_VALUE: Final = re.compile(rf"(?<![^,])(?:\s*{_QUOTED}\s*(?![^,])|(?:\$\{{[^}}]*\}}|[^,])*)")
"""One of values separated by commas, which quoted ones and interpolations may hold."""


def _text(value: str) -> str:
    """A path or a name, quoted if Hydra would read it otherwise."""
    if re.fullmatch(_QUOTED, value):
        return value
    value = re.sub("^~(?=/|$)", lambda _: str(Path.home()), value)
    literal = "${" in value and (os.path.lexists(value) or not _readable(value))
    with suppress(HydraException):
        read = OverridesParser.create().parse_override(f"run={value}").value()
        number = type(read) in (int, float) and str(read) == value  # as text it is the same
        if not literal and value == value.strip() and (number or isinstance(read, str) or value == "null"):
            return value
    return quoted(value, literal)


def quoted(text: str, literal: bool = True) -> str:
    """Text as a value of Hydra's.

    Args:
        text: of any characters.
        literal: whether ``${`` is these two characters, and begins no interpolation.
    """
    if literal:
        text = re.sub(r"(\\*)\$\{", lambda found: f"{2 * found[1]}\\${{", text)
    return QuotedString(text, Quote.single).with_quotes()


def _readable(text: str) -> bool:
    with suppress(errors.GrammarParseError):
        return bool(OmegaConf.create({"text": text}))
    return False


@cache
def text_keys() -> frozenset[str]:
    """The keys whose values are paths, names or other free text."""
    return FOLDER_KEYS | set(_text_keys(TrainConfig, ""))


def _text_keys(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _text_keys(field.annotation, f"{prefix}{name}.")
        elif any(getattr(k, "__origin__", k) is str for k in (field.annotation, *get_args(field.annotation))):
            yield prefix + name


def compose_config(overrides: Sequence[str]) -> TrainConfig:
    """Composes and checks the configuration that overrides make, without running anything.

    Raises:
        InputError: naming the key that is wrong, and what exists or is allowed.
    """
    overrides = as_typed(overrides)
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
    return parse_config({str(key): _worded(value) for key, value in plain.items()})


def _worded(plain: Any) -> Any:  # noqa: ANN401 (plain values, and what they are kept in)
    """Booleans as words, which pydantic takes for booleans, and never for the numbers 0 and 1."""
    if isinstance(plain, dict):
        return {key: _worded(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_worded(value) for value in plain]
    return str(plain).lower() if isinstance(plain, bool) else plain


@contextmanager
def explained() -> Iterator[None]:
    """Turns what Hydra or OmegaConf raises into one sentence.

    Raises:
        InputError: in place of theirs.
    """
    try:
        yield
    except (HydraException, errors.OmegaConfBaseException, MarkedYAMLError) as error:
        raise InputError(explain(error)) from None


def explain(error: Exception) -> str:
    """Hydra's message as one sentence; for a key that does not exist, with those that do."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override!r} cannot be read as KEY=VALUE; put a value with other characters than letters, digits "
            "and ._- in quotes, and the whole in others, which the shell takes: \"KEY='VALUE'\""
        )
    for found in (error, error.__cause__):
        if isinstance(found, errors.ConfigKeyError | errors.ConfigAttributeError):
            node: Any = found.parent_node
            known = sorted(str(key) for key in node if key != "hydra") if isinstance(node, DictConfig) else []
            return f"{found.full_key}: no such key" + (f"; known are {', '.join(known)}" if known else "")
        if isinstance(found, errors.GrammarParseError | errors.InterpolationResolutionError):
            return (
                f"{found.full_key}: ${{…}} stands for no value here; give a key, such as ${{seed}}, or a variable of "
                "the environment, such as ${oc.env:HOME}"
            )
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
