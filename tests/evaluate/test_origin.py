import hashlib
import json
import os
from pathlib import Path

import pytest

from rcm_cascade.evaluate.origin import CHECKPOINT_KEY, is_evaluation_of
from rcm_cascade.models.checkpoint import digest


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and the folder of its evaluation."""
    checkpoint, folder = tmp_path / "best.ckpt", tmp_path / "evaluation"
    checkpoint.write_bytes(b"weights")
    folder.mkdir()
    (folder / "confusions.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({CHECKPOINT_KEY: hashlib.sha256(b"weights").hexdigest()}))
    return checkpoint, folder


def test_a_digest_is_that_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        os.utime(path, ns=(0, len(content) + content[0]))
        assert digest(path) == hashlib.sha256(content).hexdigest()


def test_an_evaluation_is_of_the_checkpoint_whose_digest_it_records(evaluated: tuple[Path, Path]) -> None:
    checkpoint, folder = evaluated
    assert is_evaluation_of(folder, checkpoint)
    checkpoint.write_bytes(b"other weights")
    assert not is_evaluation_of(folder, checkpoint)


@pytest.mark.parametrize("content", ["{}", "[]", "{", '"x"'])
def test_one_that_records_none_is_of_no_checkpoint(evaluated: tuple[Path, Path], content: str) -> None:
    checkpoint, folder = evaluated
    (folder / "metrics.json").write_text(content)
    assert not is_evaluation_of(folder, checkpoint)


def test_both_files_must_be_there_but_a_checkpoint_that_is_gone_proves_nothing(evaluated: tuple[Path, Path]) -> None:
    checkpoint, folder = evaluated
    checkpoint.unlink()
    assert is_evaluation_of(folder, checkpoint)
    (folder / "confusions.json").unlink()
    assert not is_evaluation_of(folder, checkpoint)
