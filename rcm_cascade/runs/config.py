"""What a run is made of: typed, checked, with errors that name the key and what is allowed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.patches import Sampling
from rcm_cascade.errors import InputError
from rcm_cascade.models import Arguments
from rcm_cascade.models.matching import Matched
from rcm_cascade.models.registry import DESIGNS, with_design
from rcm_cascade.training.loss import LossArguments
from rcm_cascade.training.module import OptimArguments

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class PhantomSection(Section):
    """The phantoms that ``data=phantom`` generates, once; see `rcm-cascade phantom --help`."""

    mosaics: Positive
    size_mm: tuple[PositiveFloat, PositiveFloat]
    pixel_size_um: PositiveFloat
    seed: int
    patients: Positive | None
    sites: Positive
    deformed_meshwork: Annotated[float, Field(ge=0, le=1)] | None


class DataSection(Section):
    """Which mosaics, on which grid, and how patches are drawn from them."""

    source: Literal["phantom", "folder"]
    root: str | None
    phantom: PhantomSection
    working_pixel_size_um: PositiveFloat | Literal["native"] | None
    window: str | None
    stride: str | None
    patch: str | None
    normalisation: Normalisation
    sampling: Sampling
    batch_size: Positive
    num_workers: Annotated[int, Field(ge=0)] | None
    split_seed: int
    split_file: str | None
    labelled_fraction: Annotated[float, Field(gt=0, le=1)] | None = None  # with a default: older runs lack it
    cache_dir: str | None
    cache_gb: PositiveFloat

    @field_validator("labelled_fraction")
    @classmethod
    def _all_are_none_left_out(cls, fraction: float | None) -> float | None:
        return None if fraction == 1 else fraction


class ModelSection(Section):
    """The network: the keys of its design, whose arguments say what they mean; the class table gives the classes."""

    design: str
    base_filters: Positive = 24
    equal: Matched | None = None

    def arguments(self, num_classes: int) -> Arguments:
        """The network's, but for `equal`.

        Raises:
            ValueError: if they contradict each other.
        """
        return DESIGNS[self.design](num_classes=num_classes, **self.model_dump(exclude={"design", "equal"}))


def _section(arguments: type[Arguments]) -> type[ModelSection]:
    keys: dict[str, Any] = {"design": (Literal[arguments.design], arguments.design)}
    for field in dataclasses.fields(arguments):
        if field.name not in ("num_classes", "in_channels", *ModelSection.model_fields):
            kind = Annotated[field.type, Field(ge=1)] if field.name in ("levels", "base_depth") else field.type
            keys[field.name] = (kind, field.default)
    return create_model(arguments.__name__, __base__=ModelSection, **keys)


if TYPE_CHECKING:
    AnyModel = ModelSection
else:
    AnyModel = Annotated[
        Union[tuple(_section(arguments) for arguments in DESIGNS.values())],  # noqa: UP007  # built at run time
        Field(discriminator="design"),
        BeforeValidator(with_design),
    ]


class TrainerSection(Section):
    """How long, where, and how exactly."""

    max_epochs: Positive | None
    max_steps: Positive | None = None
    max_time: Annotated[str, Field(pattern=r"^\d{1,3}:\d{2}:\d{2}:\d{2}$")] | None
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive | Literal["auto"]
    nodes: Positive = 1
    precision: Literal["auto", "fp32", "bf16"]
    accumulate: Positive = 1
    recompute: bool = False
    compile: bool = False
    steps_per_epoch: Positive | None
    validation_regions: Positive | None
    validation_mosaics: Positive | None


class LoggerSection(Section):
    """Where measurements go, beside ``metrics.csv``."""

    name: Literal["csv", "wandb"]
    project: str
    group: str | None
    artifact: bool = True
    regions: Annotated[int, Field(ge=0)] = 4


class TrainConfig(Section):
    """Everything that ``rcm-cascade train`` can be told."""

    data: DataSection
    model: AnyModel
    loss: LossArguments
    augment: Augmentation
    optim: OptimArguments
    trainer: TrainerSection
    logger: LoggerSection
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    run: str | None
    init: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _level_weights_of_the_design(cls, plain: Any) -> Any:  # noqa: ANN401  # anything may be given
        """A null among the keys of the loss stands for the design's own choice, which is then written down."""
        try:
            loss, design = plain["loss"], with_design(plain["model"])["design"]
            weights = loss["level_weights"]
        except (KeyError, TypeError):
            return plain  # which is refused
        if weights is not None or design not in DESIGNS:
            return plain
        return {**plain, "loss": {**loss, "level_weights": DESIGNS[design].default_level_weights}}

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        """What no key alone can say: depths of every level, and a weight for each."""
        self.loss.of_network(self.model.arguments(num_classes=6))
        if self.trainer.max_epochs is not None and self.trainer.max_steps is not None:
            raise ValueError(
                "trainer.max_epochs and trainer.max_steps are both given; give one, or trainer.max_epochs=null where "
                "an experiment gives it"
            )
        if self.trainer.max_time is not None and not self.trainer.max_time.strip("0:"):
            raise ValueError("trainer.max_time is no time at all; give it as DD:HH:MM:SS, ten minutes as 00:00:10:00")
        if self.trainer.compile and self.trainer.recompute:
            raise ValueError("torch.compile cannot compile trainer.recompute; give trainer.compile or it, not both")
        return self

    def to_plain(self) -> dict[str, Any]:
        """Plain types, for YAML and JSON."""
        return self.model_dump(mode="json")

    @property
    def max_epochs(self) -> int:
        """Epochs of the run; -1: as many as time or steps allow; without any limit, `DEFAULT_EPOCHS`."""
        if self.trainer.max_epochs is not None:
            return self.trainer.max_epochs
        return -1 if self.trainer.max_time or self.trainer.max_steps else DEFAULT_EPOCHS


DEFAULT_EPOCHS: Final = 30
_WITHOUT_EFFECT: Final = (
    ("hash",),
    ("run",),
    ("logger",),
    ("data", "num_workers"),
    ("data", "cache_dir"),
    ("data", "cache_gb"),
)


NAMED: Final = 8
"""So many wrong keys are named: the configuration of an old release may lack dozens."""


_ADDED: Final[Mapping[tuple[str, ...], object]] = {
    ("trainer", "nodes"): 1,
    ("trainer", "accumulate"): 1,
    ("trainer", "recompute"): False,
    ("trainer", "compile"): False,
    ("optim", "freeze_norm"): False,
    ("init",): None,
    ("augment", "intensity"): {},
}
"""Keys that came later, left out at their defaults: a run of before them is the same run."""


def parse_config(plain: Mapping[str, Any]) -> TrainConfig:
    """Checks a resolved configuration.

    Raises:
        InputError: naming the wrong keys, the first eight, what was got and what is allowed.
    """
    _refuse_unknown_keys(plain)
    try:
        return TypeAdapter(TrainConfig).validate_python(plain)
    except ValidationError as error:
        sentences = list(dict.fromkeys(_sentence(e) for e in error.errors()))
        more = len(sentences) - NAMED
        raise InputError("; ".join(sentences[:NAMED]) + (f"; and {more} more" if more > 0 else "")) from None


def _refuse_unknown_keys(plain: Mapping[str, Any]) -> None:
    """Pydantic ignores unknown keys of standard dataclasses; a misspelt one in a config file must not be lost."""
    for section, cls in (("loss", LossArguments), ("augment", Augmentation), ("optim", OptimArguments)):
        known = {f.name for f in dataclasses.fields(cls)}
        for key in plain.get(section, {}):
            if key not in known:
                raise InputError(f"{section}.{key}: no such key; known are {', '.join(sorted(known))}")


def _sentence(error: ErrorDetails) -> str:
    names = [str(part) for part in error["loc"]]
    # Branches of a union end in the branch's name, such as `float` or `literal['native']`: not part of the key.
    key = ".".join(n for n in names if n.isidentifier() and n not in _BRANCHES)
    if error["type"] == "missing":
        return f"{key}: is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    if error["type"] == "string_pattern_mismatch":
        message = "Input should be DD:HH:MM:SS, such as 00:00:10:00"
    return f"{key}: got {error['input']!r}; {message[0].lower()}{message[1:]}"


_BRANCHES: Final = {"float", "int", "str", "bool", "tuple", *DESIGNS}


def config_hash(config: TrainConfig) -> str:
    """Identity of a run's result: a hash of the resolved configuration without what cannot change the result."""
    return hashlib.sha256(json.dumps(effective(config.to_plain()), sort_keys=True).encode()).hexdigest()[:16]


def effective(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A plain configuration without its hash and what cannot change the result: run name, logger, workers, cache."""
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in plain.items()}
    for *parents, last in _WITHOUT_EFFECT:
        section = result
        for name in parents:
            section = section.get(name, {})
        section.pop(last, None)
    for (*parents, last), default in _ADDED.items():
        section = result
        for name in parents:
            section = section.get(name, {})
        if section.get(last, default) == default:
            section.pop(last, None)
    return result


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``key: old → new`` for each key in which two plain configurations differ."""
    lines: list[str] = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a} → {b}")
    return lines
