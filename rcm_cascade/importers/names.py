"""Which class a word, a value or a colour of another tool means; what is not known is never guessed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.errors import InputError, reason
from rcm_cascade.yaml_file import read_yaml

NAMES_FILE: Final = Path(__file__).with_name("names.yaml")
NONE: Final = "unlabelled"

_Value = Annotated[int, Field(ge=0, le=65535)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _Table:
    """What ``--table`` gives: synonyms by class, class by value of an index mask, class by colour."""

    names: dict[str, list[str]] = Field(default_factory=dict)
    ids: dict[_Value, str] = Field(default_factory=dict)
    colours: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Meanings:
    """Class ids of words, values and colours.

    Args:
        classes: of the data set.
        words: id by word, as `key` writes it; 255 for unlabelled.
        ids: id by stored value of an index mask; of its own where the table says nothing.
        colours: id by RGB.
        grid: rows and columns in which the numbered frames of a VivaBlock lie; None: not said.
    """

    classes: ClassTable
    words: Mapping[str, int] = field(repr=False)
    ids: Mapping[int, int]
    colours: Mapping[tuple[int, int, int], int] = field(repr=False)
    grid: tuple[int, int] | None = None

    def of(self, word: str) -> int | None:
        """The id that a word means, 255 for unlabelled; None: it is not known."""
        return self.words.get(key(word))


def key(word: str) -> str:
    """A word without what labs write differently: case, separators, a plural s."""
    return re.sub(r"[\W_]+", "", word.casefold()).removesuffix("s")


def read_meanings(classes: ClassTable, table: Path | None = None) -> Meanings:
    """The field's words, and what a lab adds to them.

    Args:
        classes: of the data set.
        table: YAML with any of the keys names, ids and colours; None: none.

    Raises:
        InputError: if the table cannot be read, names a class that is not there, or gives one word two meanings.
    """
    own = _Table() if table is None else _read_table(table)
    by_name = {key(name): id_ for id_, name in enumerate(classes.names)} | {key(NONE): UNLABELLED}

    def id_of(name: str) -> int:
        if key(name) not in by_name:
            raise InputError(
                f"{table} names the class {name!r}; expected one of {', '.join((*classes.names, NONE))}: correct it, "
                "or the classes of dataset.yaml"
            )
        return by_name[key(name)]

    words = dict(by_name)
    general = read_yaml(NAMES_FILE)
    _add(words, {by_name[key(name)]: known for name, known in general.items() if key(name) in by_name}, "names.yaml")
    _add(words, {id_of(name): known for name, known in own.names.items()}, str(table))
    colours = {_rgb(text, table): id_of(name) for text, name in own.colours.items()}
    if not colours:
        colours = {c.rgb: c.id for c in classes.classes} | {(255, 225, 25): UNLABELLED}
    ids = {value: id_of(name) for value, name in own.ids.items()} or {id_: id_ for id_ in by_name.values()}
    return Meanings(classes, words, ids, colours)


def _add(words: dict[str, int], more: Mapping[int, Iterable[str]], where: str) -> None:
    for id_, known in more.items():
        for word in known:
            if words.setdefault(key(word), id_) != id_:
                raise InputError(f"{where} gives the word {word!r} to two classes; leave it with one")


def _read_table(path: Path) -> _Table:
    try:
        return TypeAdapter(_Table).validate_python(read_yaml(path) or {})
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path of --table") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: {reason(error)}; expected the keys names (class: [words]), ids (value: class) and colours "
            "('#rrggbb': class)"
        ) from error


def _rgb(text: str, table: Path | None) -> tuple[int, int, int]:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise InputError(f"{table} has the colour {text!r}; expected '#rrggbb', in quotes")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
