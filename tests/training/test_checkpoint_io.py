import errno
from pathlib import Path

import pytest
import torch

from rcm_cascade.errors import InputError
from rcm_cascade.training.callbacks import WholeCheckpoints


def test_the_checkpoint_before_outlives_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = tmp_path / "checkpoints" / "last.ckpt", {"state_dict": {"w": torch.arange(3.0)}}
    WholeCheckpoints().save_checkpoint(content, path)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        with pytest.raises(InputError, match=r"last\.ckpt cannot be written .*No space left.*make room"):
            WholeCheckpoints().save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.ones(2)}}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
