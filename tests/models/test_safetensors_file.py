import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from experiments.starter.export import read_origin, write_safetensors
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import HEADER, read_plain

HEADING = {
    "format": 1, "classes": [{"id": 0, "name": "haut å", "color": "#000000"}], "split": {"b": "val", "a": "train"},
}  # fmt: skip
WEIGHTS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}
ORIGIN = {"commit": "abc"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_safetensors(tmp_path / "a.safetensors", HEADING, WEIGHTS, ORIGIN)
    return tmp_path / "a.safetensors"


def test_what_is_written_is_read(file: Path) -> None:
    header, weights = read_plain(file)
    assert header == HEADING
    assert read_origin(file) == ORIGIN
    assert set(weights) == set(WEIGHTS)
    for name, tensor in WEIGHTS.items():
        assert torch.equal(weights[name], tensor)
        assert weights[name].dtype == tensor.dtype


def test_the_same_content_makes_the_same_bytes(file: Path, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "b.safetensors", HEADING, WEIGHTS, ORIGIN)
    assert (tmp_path / "b.safetensors").read_bytes() == file.read_bytes()


def test_weights_in_channels_last_are_written(tmp_path: Path) -> None:
    weights = torch.rand(4, 3, 3, 3).to(memory_format=torch.channels_last)
    write_safetensors(tmp_path / "a.safetensors", {"format": 1}, {"w": weights}, {})
    assert torch.equal(read_plain(tmp_path / "a.safetensors")[1]["w"], weights)


def test_a_file_cut_short_anywhere(file: Path) -> None:
    whole = file.read_bytes()
    for length in (0, 5, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.safetensors cannot be read .*damaged.*export it again") as caught:
            read_plain(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"no tensors at all", b"PK\x03\x04 a .ckpt by another name", (10**15).to_bytes(8, "little") + b"{}"]
)
def test_files_of_another_kind_and_headers_of_a_size_that_cannot_be(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors cannot be read"):
        read_plain(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {HEADER: "no JSON"},
        {HEADER: "[" * 100_000},
        {HEADER: "[]"},
        {HEADER: json.dumps({"header": [1]})},
    ],
)
def test_another_program_s_file(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(InputError, match=r"a\.safetensors .* not one of rcm-cascade"):
        read_plain(tmp_path / "a.safetensors")


def test_a_bit_that_flipped_anywhere_in_the_weights_or_the_text_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for at in (header, (header + len(whole)) // 2, len(whole) - 1, whole.index(b"haut"), whole.index(b"train") + 4):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.safetensors cannot be read .*damaged"):
            read_plain(file)


def test_a_file_of_before_there_was_a_checksum_is_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors", {HEADER: json.dumps({"header": HEADING, "origin": ORIGIN})})
    assert read_plain(tmp_path / "a.safetensors")[0] == HEADING


def test_weights_that_a_narrower_type_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.safetensors cannot be written: w .* holds a number that is not finite"):
        write_safetensors(tmp_path / "a.safetensors", HEADING, {"w": torch.tensor([1e5]).to(torch.float16)}, ORIGIN)
    assert not list(tmp_path.iterdir())
