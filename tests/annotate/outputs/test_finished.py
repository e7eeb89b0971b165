import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.outputs import is_finished, output_paths, write_annotation
from tests.annotate.annotated import annotated

IMAGE = Path("mosaics/a.tif")
SOURCE, CHECKPOINT = "cd" * 32, "ab" * 32


def write(out: Path, precision: str = "fp32", **changed: Any) -> None:
    write_annotation(out, IMAGE, annotated(60, 80, source_sha256=SOURCE, **changed))
    summary = output_paths(out, IMAGE)["summary"]
    told = json.loads(summary.read_text("utf-8"))
    summary.write_text(json.dumps(told | {"precision": precision}), "utf-8")


def asked(out: Path, precision: str = "auto", backend: str = "auto", **changed: Any) -> bool:
    content = changed.get("source_sha256", SOURCE)
    annotator: Any = SimpleNamespace(
        sha256=changed.get("checkpoint_sha256", CHECKPOINT), cache=SimpleNamespace(content=lambda _: content)
    )
    options = AnnotationOptions(precision=precision, backend=backend)
    return is_finished(out, IMAGE, annotator, options, changed.get("pixel_size_um"))


def test_what_was_written_for_the_same_question_is_finished(tmp_path: Path) -> None:
    assert not asked(tmp_path)
    write(tmp_path)

    assert asked(tmp_path)
    assert asked(tmp_path, precision="fp32", backend="torch")


@pytest.mark.parametrize(
    "changed",
    [
        {"source_sha256": "ef" * 32},
        {"checkpoint_sha256": "ef" * 32},
        {"pixel_size_um": 2.0},
        {"precision": "bf16"},
        {"precision": "int8"},
        {"backend": "openvino"},
    ],
    ids=str,
)
def test_another_question_is_not(changed: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path)

    assert not asked(tmp_path, **changed)


def test_a_given_pixel_size_is_compared(tmp_path: Path) -> None:
    write(tmp_path, pixel_size_um=0.7, pixel_size_source="given")

    assert asked(tmp_path, pixel_size_um=0.7)
    assert not asked(tmp_path, pixel_size_um=0.8)
    assert not asked(tmp_path)


def test_auto_accepts_bf16_but_not_int8(tmp_path: Path) -> None:
    write(tmp_path, precision="bf16")
    assert asked(tmp_path)
    assert not asked(tmp_path, precision="fp32")

    write(tmp_path, precision="int8")
    assert not asked(tmp_path)
    assert asked(tmp_path, precision="int8")


@pytest.mark.parametrize("index", range(3))
def test_one_of_the_three_missing(index: int, tmp_path: Path) -> None:
    write(tmp_path)
    list(output_paths(tmp_path, IMAGE).values())[index].unlink()

    assert not asked(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"pixel_size_source": "file"}', "\\udc80"])
def test_a_summary_that_is_not_ours_or_of_an_older_version(content: str, tmp_path: Path) -> None:
    write(tmp_path)
    output_paths(tmp_path, IMAGE)["summary"].write_text(content, "utf-8")

    assert not asked(tmp_path)


def test_a_summary_that_is_no_text(tmp_path: Path) -> None:
    write(tmp_path)
    output_paths(tmp_path, IMAGE)["summary"].write_bytes(b"\xff\xfe\x00{")

    assert not asked(tmp_path)


def test_a_summary_without_the_source_is_of_an_older_version(tmp_path: Path) -> None:
    write(tmp_path)
    summary = output_paths(tmp_path, IMAGE)["summary"]
    told = json.loads(summary.read_text("utf-8"))
    del told["source_sha256"]
    summary.write_text(json.dumps(told), "utf-8")

    assert not asked(tmp_path)
