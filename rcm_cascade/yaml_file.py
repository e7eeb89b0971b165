"""YAML files as people mean them: each key once, and text where YAML 1.1 makes something else of it."""

import reprlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import yaml

from rcm_cascade.errors import InputError

_TAG: Final = "tag:yaml.org,2002:"


class _RefusedError(yaml.MarkedYAMLError):
    """What is YAML, and still refused; ``problem`` says it."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, value in node.value:
            written = (key.tag, str(key.value))
            if written in seen:
                raise _RefusedError(
                    problem=f"gives {reprlib.repr(key.value)} a second time; delete one of the two",
                    problem_mark=key.start_mark,
                )
            if key.tag == f"{_TAG}merge" and isinstance(value, yaml.SequenceNode):  # nested, they grow without bound
                raise _RefusedError(
                    problem="merges a list of mappings with <<; write their keys out", problem_mark=key.start_mark
                )
            seen.add(written)
        return node


def _written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float | str:
    text = _written(loader, node)
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


for _name in ("bool", "timestamp"):
    _Loader.add_constructor(_TAG + _name, _written)
for _name in ("int", "float"):
    _Loader.add_constructor(_TAG + _name, _number)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 (whatever the file holds)
    """The content of a YAML file; nothing in it is executed.

    Dates, ``yes``, ``no``, ``on``, ``off``, ``true`` and ``false`` stay the text that they are written as, which
    pydantic takes for a boolean where one is expected, and never for a number. Numbers are decimal: ``010`` is ten;
    ``1:30`` and ``0x10`` are text.

    Raises:
        OSError: if the file cannot be read.
        InputError: if it is no YAML, gives a key twice, or merges lists of mappings; the message names the line.
    """
    try:
        return yaml.load(path.read_bytes(), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bad UTF-8
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        fault = error.problem if isinstance(error, _RefusedError) else "is no valid YAML; write one 'key: value' a line"
        raise InputError(f"{path}{line} {fault}") from error
