import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from experiments.starter.export import export_checkpoint
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.manifest import SplitName
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadeArguments, Network
from rcm_cascade.models.checkpoint import (
    HEADER,
    NETWORK_PREFIX,
    CheckpointHeader,
    load_checkpoint,
    read_header,
    store_temperature,
    write_checkpoint,
)

ARGUMENTS = CascadeArguments(levels=2, base_filters=2)


def write(path: Path, **changes: object) -> Network:
    network = ARGUMENTS.build()
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


def test_a_header_is_read_without_building_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.ckpt")
    export_checkpoint(tmp_path / "a.ckpt", tmp_path / "a.safetensors")
    expected = load_checkpoint(tmp_path / "a.ckpt").header

    def built(*_: object) -> Network:
        raise AssertionError("a network was built")

    monkeypatch.setattr(CascadeArguments, "build", built)
    assert read_header(tmp_path / "a.ckpt") == read_header(tmp_path / "a.safetensors") == expected
    store_temperature(tmp_path / "a.ckpt", 2.0)
    assert read_header(tmp_path / "a.ckpt").temperature == 2.0


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


def test_a_temperature_is_stored_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    content = torch.load(path, weights_only=True) | {"optimizer_states": [{"step": 3}], "global_step": 7}
    torch.save(content, path)
    assert load_checkpoint(path).header.temperature == 1.0

    store_temperature(path, 1.75)

    assert load_checkpoint(path).header.temperature == 1.75
    after = torch.load(path, weights_only=True)
    assert after[HEADER].pop("temperature") == 1.75
    content[HEADER].pop("temperature")
    assert after[HEADER] == content[HEADER]
    weights, old = after.pop("state_dict"), content.pop("state_dict")
    assert list(weights) == list(old)
    assert all(torch.equal(weights[key], old[key]) for key in old)
    assert {k: v for k, v in after.items() if k != HEADER} == {"optimizer_states": [{"step": 3}], "global_step": 7}
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_checkpoint_of_an_older_version_has_temperature_1(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    content = torch.load(path, weights_only=True)
    del content[HEADER]["temperature"]
    torch.save(content, path)
    assert load_checkpoint(path).header.temperature == 1.0


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none(tmp_path: Path, temperature: float) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"greater than 0|finite number"):
        store_temperature(path, temperature)
    assert path.read_bytes() == before
    write(path, temperature=temperature)
    with pytest.raises(InputError, match="contradicts itself"):
        load_checkpoint(path)


def test_a_temperature_that_cannot_be_written_leaves_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    before = path.read_bytes()

    def full(content: object, to: BinaryIO) -> None:
        to.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"a\.ckpt cannot be written .*file write failed"):
        store_temperature(path, 2.0)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def records(path: Path) -> list[tuple[int, int]]:
    """Where the content of each record of a .ckpt file begins, and how long it is."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        heads = [(r.header_offset, r.file_size) for r in archive.infolist()]
    lengths = [struct.unpack("<HH", whole[at + 26 : at + 30]) for at, _ in heads]
    return [(at + 30 + sum(names), size) for (at, size), names in zip(heads, lengths, strict=True)]


def test_a_bit_that_flipped_anywhere_in_the_weights_or_the_header_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    whole = path.read_bytes()
    for start, size in records(path):
        for at in {start, start + size // 2, start + size - 1} if size else set():
            damaged = bytearray(whole)
            damaged[at] ^= 1
            path.write_bytes(damaged)
            for read in (load_checkpoint, read_header):
                with pytest.raises(InputError, match=r"a\.ckpt cannot be read .* it is damaged"):
                    read(path)


@pytest.mark.parametrize("name", ["levels.0.head.weight", "levels.1.bottom.0.1.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_and_buffers_that_are_no_numbers_are_neither_read_nor_written(
    name: str, value: float, tmp_path: Path
) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    content = torch.load(path, weights_only=True)
    content["state_dict"][NETWORK_PREFIX + name].view(-1)[-1] = value
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"a\.ckpt cannot be written: .*{name} \(1 of \d+ tensors\) holds a number"):
        write_checkpoint(content, path)
    assert path.read_bytes() == before
    torch.save(content, path)
    with pytest.raises(InputError, match=rf"a\.ckpt cannot be used: {name} .* not finite; train again with a lower"):
        load_checkpoint(path)
    with pytest.raises(InputError, match=r"a\.ckpt cannot be used"):
        export_checkpoint(path, tmp_path / "a.safetensors")


def test_a_mosaic_is_known_by_its_content_whatever_it_is_called() -> None:
    split: dict[str, SplitName] = {"a": "train", "b": "test", "c": "val", "d": "train"}
    header = CheckpointHeader(ARGUMENTS, RCM_CLASSES, 1.0, split=split, contents=dict(zip("abcd", "1232", strict=True)))
    assert header.parts(header.contents) == split  # b and d are one picture, and keep the names that they had
    assert header.parts({"a": "2", "x": "1", "c": "9", "y": "3"}) == {"a": "train", "x": "train", "y": "val"}


def test_a_checkpoint_of_an_older_version_knows_its_mosaics_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write(path)
    content = torch.load(path, weights_only=True)
    del content[HEADER]["contents"], content[HEADER]["patients"]
    torch.save(content, path)
    header = load_checkpoint(path).header
    assert (header.split, header.contents, header.patients) == ({"a.tif": "train"}, {}, {})
    assert header.parts({"a.tif": "1"}) == {}
