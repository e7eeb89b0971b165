from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rcm_cascade.annotate.starter import starter_path
from rcm_cascade.models import Arguments, CascadeArguments, Network
from rcm_cascade.models.checkpoint import load_checkpoint, read_header
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.models.ensemble import EnsembleArguments
from rcm_cascade.models.registry import DESIGNS, LevelGeometry, read_arguments, register

OLD = {
    "num_classes": 6, "in_channels": 1, "levels": 3, "base_depth": 2, "depth_increment": 1, "base_filters": 8,
    "prior": "softmax", "detach_prior": False, "network": "unet",
}  # fmt: skip
"""As a checkpoint's header had it before there were designs."""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, CascadeArguments(base_filters=8)),
        ({"prior": "logits", "levels": 2}, CascadeArguments(base_filters=8, levels=2, prior="logits")),
        ({"prior": "none"}, EnsembleArguments(base_filters=8)),
        ({"network": "dynunet", "levels": 1, "base_depth": 4}, DynUNetArguments(base_filters=8, base_depth=4)),
    ],
)
def test_arguments_of_before_are_those_of_a_design(changes: Mapping[str, Any], expected: Arguments) -> None:
    assert read_arguments({**OLD, **changes}) == expected
    assert read_arguments(expected.to_plain()) == expected


@pytest.mark.parametrize("name", list(DESIGNS))
def test_a_design_is_chosen_by_its_name(name: str) -> None:
    arguments = DESIGNS[name](base_filters=4)
    assert arguments.to_plain()["design"] == name
    if name == "dynunet":
        pytest.importorskip("monai")
    network = arguments.build()
    assert network.arguments is arguments or network.arguments == arguments
    assert len(network.levels) == arguments.levels == len(arguments.geometry)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"design": "resnet"}, f"design is 'resnet'; expected one of {', '.join(sorted(DESIGNS))}"),
        ({"design": "dynunet", "base_depth": 1}, "base_depth 1"),
        ({"design": "ensemble", "levels": 0}, "levels is 0"),
    ],
)
def test_designs_that_do_not_exist_are_refused(arguments: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_arguments(arguments)


def test_an_argument_of_another_design_is_refused() -> None:
    with pytest.raises(TypeError, match="prior"):
        read_arguments({"design": "ensemble", "prior": "softmax"})


def test_a_new_design_is_known_by_being_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcm_cascade.models.registry.DESIGNS", dict(DESIGNS))

    @register
    @dataclass(frozen=True, kw_only=True)
    class FlatArguments(Arguments):
        design = "flat"
        width: int = 3

        @property
        def geometry(self) -> tuple[LevelGeometry, ...]:
            return (LevelGeometry(1, 0, self.width),)

        def build(self) -> Network:
            return Network(self, [])

    arguments = read_arguments({"design": "flat", "width": 5})
    assert arguments == FlatArguments(width=5)
    assert (arguments.alignment, arguments.output_factors, arguments.levels) == (1, (1,), 1)
    assert isinstance(arguments.build(), Network)


def test_checkpoints_of_before_are_read() -> None:
    assert read_header(starter_path()).model == CascadeArguments(base_filters=12)
    found = list((Path(__file__).parents[1] / "runs" / "f22ba43").rglob("*.ckpt"))
    for path in found:
        expected = EnsembleArguments if "model.prior=none" in str(path) else CascadeArguments
        assert isinstance(load_checkpoint(path).header.model, expected)
    assert len(found) == 7
