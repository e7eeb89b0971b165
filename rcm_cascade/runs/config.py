"""What a run is made of: typed, checked, with errors that name the key and what is allowed."""

import dataclasses
import os
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from rcm_cascade.data.augment import Augmentation
from rcm_cascade.data.folds import FoldRule, Rule
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.patches import Sampling
from rcm_cascade.errors import InputError
from rcm_cascade.models import Arguments
from rcm_cascade.models.registry import DESIGNS, with_design
from rcm_cascade.models.summary import Matched
from rcm_cascade.training.loss import LossArguments
from rcm_cascade.training.module import OptimArguments


class Identity(Enum):
    """What a key means for whether two runs are the same; without one of these, its value must be equal.

    A key that came later has a default: the value at which runs of before it did the same.
    """

    NEVER = auto()
    """It cannot change the result."""
    PATH = auto()
    """Compared resolved, so that ``set`` and ``./set`` are one folder."""
    LIMIT = auto()
    """How long the run trains; it may be raised later with ``extend=true``."""


Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
PathText = Annotated[str, AfterValidator(lambda text: str(Path(os.path.expanduser(text))))]  # noqa: PTH111  # ~x may be no user

DEFAULT_EPOCHS: Final = 30
FOLD_COUNTS: Final[Mapping[str, dict[str, int]]] = {"patients": {"folds": 5}, "paper": {"repeats": 5}, "sites": {}}
"""By the rule of folds, the key that says how many there are, with its default; by site, the data say it."""


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
    root: Annotated[PathText | None, Identity.PATH]
    phantom: PhantomSection
    working_pixel_size_um: PositiveFloat | Literal["native"] | None
    window: str | None
    stride: str | None
    patch: str | None
    normalisation: Normalisation
    sampling: Sampling
    batch_size: Positive
    num_workers: Annotated[Natural | None, Identity.NEVER]
    split_seed: int
    split_file: Annotated[PathText | None, Identity.PATH]
    fold: Natural | None = None
    rule: Rule | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    repeats: Positive | None = None
    labelled_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    cache_dir: Annotated[PathText | None, Identity.NEVER]
    cache_gb: Annotated[PositiveFloat, Identity.NEVER]

    @field_validator("labelled_fraction")
    @classmethod
    def _all_are_none_left_out(cls, fraction: float | None) -> float | None:
        return None if fraction == 1 else fraction

    @model_validator(mode="before")
    @classmethod
    def _complete_folds(cls, plain: Any) -> Any:  # noqa: ANN401 (whatever a file holds)
        """A fold's configuration says how the folds were made, by default too."""
        if not isinstance(plain, Mapping) or plain.get("fold") is None:
            return plain
        given = {"rule": "patients"} | {key: value for key, value in plain.items() if value is not None}
        return {**plain, **FOLD_COUNTS.get(str(given["rule"]), {}), **given}

    @property
    def fold_rule(self) -> FoldRule | None:
        """How the folds are made of which `fold` is one; None without folds.

        Raises:
            ValueError: if the keys that say it contradict each other.
        """
        count = self.folds or self.repeats
        for key in ("rule", "folds", "repeats"):
            value = getattr(self, key)
            if self.fold is None and value is not None:
                raise ValueError(
                    f"data.{key}={value} says how folds are made, and not which is trained: give data.fold=0, or train "
                    "all with --multirun +sweep=crossval"
                )
            if self.rule and key not in ("rule", *FOLD_COUNTS[self.rule]) and value is not None:
                raise ValueError(f"data.{key}={value} has no meaning with data.rule={self.rule}; leave it out")
        if self.fold is None or self.rule is None:
            return None
        if self.split_file is not None:
            raise ValueError("data.split_file and data.fold are both given; give one")
        if count is not None and self.fold >= count:
            raise ValueError(f"data.fold={self.fold}; expected 0 to {count - 1}, for there are {count} folds")
        return FoldRule(self.rule, count, self.split_seed)


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

    max_epochs: Annotated[Positive | None, Identity.LIMIT]
    max_steps: Annotated[Positive | None, Identity.LIMIT] = None
    max_time: Annotated[Annotated[str, Field(pattern=r"^\d{1,3}:\d{2}:\d{2}:\d{2}$")] | None, Identity.LIMIT]
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
    """All keys of ``rcm-cascade train``."""

    data: DataSection
    model: AnyModel
    loss: LossArguments
    augment: Augmentation
    optim: OptimArguments
    trainer: TrainerSection
    logger: Annotated[LoggerSection, Identity.NEVER]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    run: Annotated[str | None, Identity.NEVER]
    init: Annotated[PathText | None, Identity.PATH] = None
    extend: Annotated[bool, Identity.NEVER] = False

    @field_validator("run")
    @classmethod
    def _stays_below_runs(cls, run: str | None) -> str | None:
        if run is not None and (Path(run).is_absolute() or ".." in Path(run).parts):
            raise ValueError(f"{run} leads out of runs/; give a plain name")
        if run is not None and ("${" in run or "::" in run):  # Hydra's references, fsspec's chains of file systems
            raise ValueError(f"{run} holds ${{ or ::, which no folder of a run may; give a plain name")
        return run

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        """What no key alone can say: depths of every level, a weight for each, and which fold."""
        _ = self.data.fold_rule
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


NAMED: Final = 8
"""So many wrong keys are named: the configuration of an old release may lack dozens."""


def parse_config(plain: Mapping[str, Any]) -> TrainConfig:
    """Checks a resolved configuration, as composed or as a config.yaml holds it, with its hash.

    Raises:
        InputError: naming the wrong keys, the first eight, what was got and what is allowed.
    """
    try:
        return TrainConfig.model_validate({key: value for key, value in plain.items() if key != "hash"})
    except ValidationError as error:
        sentences = list(dict.fromkeys(_sentence(e) for e in error.errors()))
        more = len(sentences) - NAMED
        raise InputError("; ".join(sentences[:NAMED]) + (f"; and {more} more" if more > 0 else "")) from None


def _sentence(error: ErrorDetails) -> str:
    names = [str(part) for part in error["loc"]]
    # Branches of a union end in the branch's name, such as `float` or `literal['native']`: not part of the key.
    key = ".".join(n for n in names if n.isidentifier() and n not in _BRANCHES)
    if error["type"] in _PLAINLY:
        return f"{key}: {_PLAINLY[error['type']]}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    if error["type"] == "string_pattern_mismatch":
        message = "Input should be DD:HH:MM:SS, such as 00:00:10:00"
    return f"{key}: got {error['input']!r}; {message[0].lower()}{message[1:]}"


_PLAINLY: Final = {
    "missing": "is missing",
    "extra_forbidden": "no such key",
    "unexpected_keyword_argument": "no such key",
}
_BRANCHES: Final = {"float", "int", "str", "bool", "tuple", *DESIGNS}
