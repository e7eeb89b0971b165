from pathlib import Path

import pytest
import torch

from rcm_cascade.errors import InputError
from rcm_cascade.labels import RCM_CLASSES
from rcm_cascade.models import CascadeArguments, CascadedUNet
from rcm_cascade.models.checkpoint import HEADER, NETWORK_PREFIX, CheckpointHeader, load_checkpoint

ARGUMENTS = CascadeArguments(levels=2, base_filters=2)


def write(path: Path, **changes: object) -> CascadedUNet:
    network = CascadedUNet(**ARGUMENTS.to_plain())
    header = CheckpointHeader(ARGUMENTS, RCM_CLASSES, 1.0, split={"a.tif": "train"}, synthetic=True)
    content = {
        "state_dict": {NETWORK_PREFIX + k: v for k, v in network.state_dict().items()},
        HEADER: header.to_plain() | changes,
    }
    torch.save(content, path)
    return network


def test_what_is_written_is_read(tmp_path: Path) -> None:
    network = write(tmp_path / "a.ckpt")
    loaded = load_checkpoint(tmp_path / "a.ckpt")
    assert loaded.header.model == ARGUMENTS
    assert loaded.header.classes == RCM_CLASSES
    assert loaded.header.split == {"a.tif": "train"}
    assert loaded.header.synthetic
    assert not loaded.network.training
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight)


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, HEADER: Malicious()}, tmp_path / "bad.ckpt")
    with pytest.raises(InputError, match=r"bad\.ckpt"):
        load_checkpoint(tmp_path / "bad.ckpt")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 truncated"])
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.ckpt cannot be read"):
        load_checkpoint(tmp_path / "bad.ckpt")


def test_missing_foreign_newer_and_contradicting_files(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(InputError, match="not one of rcm-cascade"):
        load_checkpoint(path)
    write(path, format=99)
    with pytest.raises(InputError, match="format 99"):
        load_checkpoint(path)
    write(path, model=ARGUMENTS.to_plain() | {"base_filters": 3})
    with pytest.raises(InputError, match="contradicts itself"):
        load_checkpoint(path)


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    write(tmp_path / "a.ckpt")
    whole = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "a.ckpt")
