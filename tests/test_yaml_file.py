from pathlib import Path

import pytest
import yaml

from rcm_cascade.errors import InputError
from rcm_cascade.yaml_file import read_yaml


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("true", "true"),
        ("!!bool on", "on"),
        ("2024-01-05", "2024-01-05"),
        ("2024-13-45", "2024-13-45"),
        ("010", 10),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1.0e-05", 1e-05),
        ("-.inf", float("-inf")),
        ("'010'", "010"),
        ("~", None),
        ("null", None),
    ],
)
def test_plain_values_are_read_as_people_mean_them(tmp_path: Path, text: str, value: object) -> None:
    assert read_yaml(write(tmp_path, f"key: {text}\n")) == {"key": value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml, line 3, gives 'a' a second time; delete one"),
        ("- {a: 1, a: 1}\n", "line 1, gives 'a' a second time"),
        ("x:\n  y:\n    a: 1\n    'a': 2\n", "line 4, gives 'a' a second time"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", "line 4, gives '<<' a second time"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}\n", "line 2, merges a list of mappings with <<"),
        ("a: 'b\n", "line 2, is no valid YAML"),
    ],
)
def test_what_would_be_lost_in_silence_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_yaml(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_what_a_mapping_merges_is_no_second_time(tmp_path: Path) -> None:
    nested = "p: {a: &a {<<: &b {k: 1, l: 2}, k: 3}}\nq: {<<: *a, l: 4}\n"
    assert read_yaml(write(tmp_path, nested)) == {"p": {"a": {"k": 3, "l": 2}}, "q": {"k": 3, "l": 4}}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    plain = {
        "names": ["no", "true", "1.10", "2024_01_05", "1e3", "010", "1:30", "null", "~", "???", "", "${x}"],
        "paths": ["/x/Größe", "a=1 #(b)[c]{d}&~,%$", 'it\'s "q"', "a: b", " a", "a\nb", "n\udcff"],
        "numbers": [1, -2, 0.1, 1e-7, 1e22],
    }
    for flow in (None, True):
        text = yaml.safe_dump(plain, allow_unicode=True, default_flow_style=flow)
        assert read_yaml(write(tmp_path, text)) == plain
