import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.starter.export import export_checkpoint, read_origin, write_safetensors
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.checkpoint import (
    HEADER,
    NETWORK_PREFIX,
    CheckpointHeader,
    digest,
    load_checkpoint,
    read_plain,
)

ARGUMENTS = CascadeArguments(levels=2, base_filters=2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = ARGUMENTS.build()
    for name, tensor in network.state_dict().items():  # statistics that fresh batch norms do not have
        if name.endswith("running_mean"):
            tensor.normal_()
    header = CheckpointHeader(
        ARGUMENTS, RCM_CLASSES, 8.0, dataset="phantom", dataset_id="7", split={"a.tif": "train"}, synthetic=True,
        temperature=1.25, init="ab",
    )  # fmt: skip
    weights = {NETWORK_PREFIX + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": weights, HEADER: header.to_plain(), "optimizer_states": [1]}, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.fixture
def exported(checkpoint: Path) -> Path:
    out = checkpoint.with_suffix(".safetensors")
    export_checkpoint(checkpoint, out, commit="c0ffee")
    return out


def test_an_export_is_the_checkpoint_it_came_from(checkpoint: Path, exported: Path) -> None:
    before, after = load_checkpoint(checkpoint), load_checkpoint(exported)
    assert after.header == before.header
    assert after.path == exported
    assert not after.network.training
    image = torch.rand(1, 1, 50, 42)
    with torch.inference_mode():
        logits = before.network(image), after.network(image)
    assert logits[0][-1].std() > 0
    assert all(torch.equal(a, b) for a, b in zip(*logits, strict=True))
    assert all(p.dtype == torch.float32 for p in after.network.parameters())
    assert read_origin(exported) == {"commit": "c0ffee", "checkpoint_sha256": digest(checkpoint)}


def test_an_export_can_be_exported_again(exported: Path, tmp_path: Path) -> None:
    export_checkpoint(exported, tmp_path / "b.safetensors")
    assert load_checkpoint(tmp_path / "b.safetensors").header == load_checkpoint(exported).header


def test_an_export_by_another_name_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        export_checkpoint(checkpoint, checkpoint.with_name("b.ckpt"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"format": None}, "format None"),
        ({"temperature": -1}, "temperature: Input should be greater than 0, not -1"),
        ({"temperature": "warm"}, "contradicts itself"),
        ({"working_pixel_size_um": 0}, "working_pixel_size_um: .* not 0"),
        ({"normalisation": "other"}, "normalisation: .* not 'other'"),
        ({"classes": RCM_CLASSES.to_plain()[:5]}, "6 classes and the table 5"),
        ({"classes": "x"}, "contradicts itself"),
        ({"model": None}, "contradicts itself"),
        (
            {"model": ARGUMENTS.to_plain() | {"base_filters": 10**6}},
            r"it claims to be has \(1000000, 1, 3, 3\)",
        ),
        ({"model": ARGUMENTS.to_plain() | {"base_filters": 10**18}}, "contradicts itself"),
        ({"model": ARGUMENTS.to_plain() | {"levels": 10**9}}, "deeper than any mosaic"),
        ({"model": ARGUMENTS.to_plain() | {"base_depth": 10**9}}, "deeper than any mosaic"),
        ({"model": ARGUMENTS.to_plain() | {"levels": 2.5}}, "contradicts itself"),
        ({"unknown": 1}, "contradicts itself"),
    ],
)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_what_a_header_says_is_checked_in_both_formats(
    changes: dict[str, Any], words: str, suffix: str, checkpoint: Path, exported: Path
) -> None:
    if suffix == ".ckpt":
        content = torch.load(checkpoint, weights_only=True)
        torch.save(content | {HEADER: content[HEADER] | changes}, checkpoint)
    else:
        header, weights = read_plain(exported)
        write_safetensors(exported, {**header, **changes}, weights, {})
    with pytest.raises(InputError, match=words) as caught:
        load_checkpoint(checkpoint.with_suffix(suffix))
    assert "\n" not in str(caught.value)
    assert f"a{suffix}" in str(caught.value)


def test_missing_and_added_tensors(exported: Path) -> None:
    header, weights = read_plain(exported)
    weights = dict(weights)
    name, tensor = "levels.0.head.bias", weights.pop("levels.0.head.bias")
    write_safetensors(exported, header, weights, {})
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_checkpoint(exported)
    write_safetensors(exported, header, {**weights, name: tensor, "more": tensor + 1}, {})
    with pytest.raises(InputError, match="contradicts itself"):
        load_checkpoint(exported)


def test_the_header_is_json_that_other_programs_can_read(exported: Path) -> None:
    raw = exported.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    told = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["rcm_cascade"])
    assert told["header"]["synthetic"] is True
    assert told["origin"]["commit"] == "c0ffee"


def test_bfloat16_takes_half_the_room_and_reads_as_float32(checkpoint: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    export_checkpoint(checkpoint, whole)
    export_checkpoint(checkpoint, half, dtype=torch.bfloat16)
    sizes = [sum(t.nbytes for t in read_plain(path)[1].values() if t.is_floating_point()) for path in (whole, half)]
    assert sizes[1] * 2 == sizes[0]
    exact, rounded = (load_checkpoint(path).network.state_dict() for path in (whole, half))
    for name, tensor in rounded.items():
        assert tensor.dtype == exact[name].dtype
        if tensor.is_floating_point():
            assert torch.equal(tensor, exact[name].bfloat16().float()), name
