from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadeArguments, Network
from rcm_cascade.models.checkpoint import HEADER, NETWORK_PREFIX, CheckpointHeader, load_checkpoint, read_header
from rcm_cascade.models.ensemble import EnsembleArguments
from rcm_cascade.training.initial import class_axes, load_initial, read_initial, refuse_other_form, seen_before

ARGUMENTS = CascadeArguments(levels=2, base_filters=2)
HEADS = {f"levels.{i}.head.{kind}" for i in range(2) for kind in ("weight", "bias")}
FROM_PRIOR = "levels.1.encoder.0.0.0.weight"


def header(classes: ClassTable = RCM_CLASSES, **changes: Any) -> CheckpointHeader:
    arguments = replace(ARGUMENTS, num_classes=len(classes))
    return CheckpointHeader(**{"model": arguments, "classes": classes, "working_pixel_size_um": 8.0, **changes})


def save(path: Path, told: CheckpointHeader) -> Path:
    torch.manual_seed(1)
    network = told.model.build()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_()
    weights = {NETWORK_PREFIX + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": weights, HEADER: told.to_plain()}, path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "init.ckpt", header())


def begin(checkpoint: Path, ours: CheckpointHeader) -> tuple[Network, Network, list[str]]:
    """A network of random weights, the same once it has begun with the checkpoint's, and what was said."""
    initial = read_initial(str(checkpoint), checkpoint)
    refuse_other_form(str(checkpoint), initial.header.model, ours.model)
    torch.manual_seed(2)
    random, network = ours.model.build(), ours.model.build()
    network.load_state_dict(random.state_dict())
    return random, network, load_initial(str(checkpoint), initial, network, ours)


def test_all_weights_are_loaded_where_the_classes_are_equal(checkpoint: Path) -> None:
    recoloured = ClassTable(tuple(replace(c, color="#123456") for c in RCM_CLASSES.classes))
    for classes in (RCM_CLASSES, recoloured):
        _, network, told = begin(checkpoint, header(classes))
        expected = load_checkpoint(checkpoint).network.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
        assert len(told) == 1
        assert f"{len(expected)} of {len(expected)} tensors" in told[0]


FOUR = ClassTable(tuple(LabelClass(i, f"c{i}", "#000000") for i in range(4)))
REORDERED = ClassTable(
    tuple(replace(c, id=i) for i, c in enumerate([*RCM_CLASSES.classes[1:], RCM_CLASSES.classes[0]]))
)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (FOUR, "other classes (non-lesion, artifact"),
        (REORDERED, "the classes in another order (non-lesion, artifact"),
    ],
    ids=["four", "reordered"],
)
def test_of_other_classes_all_but_heads_and_what_reads_the_prior_is_loaded(
    classes: ClassTable, words: str, checkpoint: Path
) -> None:
    random, network, told = begin(checkpoint, header(classes))
    ours, theirs, fresh = network.state_dict(), load_checkpoint(checkpoint).network.state_dict(), random.state_dict()
    for name, tensor in ours.items():
        if name in HEADS:
            assert torch.equal(tensor, fresh[name]), name
        elif name == FROM_PRIOR:
            assert torch.equal(tensor[:, :1], theirs[name][:, :1])
            assert torch.equal(tensor[:, 1:], fresh[name][:, 1:])
            assert not torch.equal(tensor[:, :1], fresh[name][:, :1])
        else:
            assert torch.equal(tensor, theirs[name]), name
    assert words in told[0]
    assert f"this run: {', '.join(classes.names)}" in told[0]
    assert "4 tensors of heads are random, and the prior's channels of 1 others" in told[0]


def test_which_tensors_know_the_number_of_classes() -> None:
    assert class_axes(ARGUMENTS) == dict.fromkeys(HEADS, 0) | {FROM_PRIOR: 1}
    assert set(class_axes(EnsembleArguments(levels=2, base_filters=2)).values()) == {0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_filters": 3}, r"network of base_filters 2, .* asks for 3; add model\.base_filters=2 .* or leave init"),
        ({"levels": 3}, r"levels 2, .* asks for 3; add model\.levels=2"),
        ({"prior": "logits", "base_depth": 3}, r"asks for 3, logits; add model\.base_depth=2 model\.prior=softmax"),
    ],
)
def test_a_network_of_another_form_is_refused_with_the_keys_to_add(
    changes: dict[str, Any], words: str, checkpoint: Path
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        refuse_other_form(str(checkpoint), read_header(checkpoint).model, replace(ARGUMENTS, **changes))
    assert "\n" not in str(caught.value)


def test_another_design_is_refused_with_the_one_to_choose(checkpoint: Path) -> None:
    ensemble = EnsembleArguments(levels=2, base_filters=3)
    with pytest.raises(InputError, match=r"network of design cascade, .* asks for ensemble; add model=cascade to"):
        refuse_other_form(str(checkpoint), read_header(checkpoint).model, ensemble)


def test_what_changes_no_weight_is_no_other_form(checkpoint: Path) -> None:
    refuse_other_form(str(checkpoint), read_header(checkpoint).model, replace(ARGUMENTS, detach_prior=True))


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^init=.*gone\.ckpt does not exist.* init=starter"):
        read_initial(str(tmp_path / "gone.ckpt"), tmp_path / "gone.ckpt")


def test_another_scale_and_normalisation_are_said(checkpoint: Path) -> None:
    _, _, told = begin(checkpoint, header(working_pixel_size_um=None, normalisation="none"))
    assert [line.startswith("warning: ") for line in told] == [False, True, True]
    assert "data.working_pixel_size_um=8.0 and this run has native" in told[1]
    assert "data.normalisation=mosaic and this run has none" in told[2]


def test_mosaics_that_were_trained_on_are_no_longer_held_out(checkpoint: Path, tmp_path: Path) -> None:
    theirs = header(dataset_id="7", split={"a": "train", "b": "val", "c": "test", "d": "train"})
    same = replace(theirs)
    other = replace(theirs, split={"a": "test", "b": "test", "c": "train", "d": "val"})
    assert seen_before(theirs, same) == []
    assert seen_before(theirs, other) == ["a", "b", "d"]
    assert seen_before(theirs, replace(other, dataset_id="8")) == []
    with_mosaics = replace(theirs, mosaics_id="m")
    assert seen_before(with_mosaics, replace(other, dataset_id="8", mosaics_id="m")) == ["a", "b", "d"]  # relabelled
    assert seen_before(with_mosaics, replace(other, mosaics_id="n")) == []
    told = load_initial("starter", load_checkpoint(save(tmp_path / "b.ckpt", theirs)), ARGUMENTS.build(), other)
    assert told[1].startswith(
        "warning: init=starter was trained or chosen on 3 of this run's held-out mosaics (a, b, d)"
    )


def test_mosaics_that_were_trained_on_are_known_in_any_data_set_under_any_name() -> None:
    theirs = header(mosaics_id="m", split={"a": "train", "b": "val"}, contents={"a": "1", "b": "2"})
    ours = header(mosaics_id="n", split={"x": "test", "a": "val", "y": "test"}, contents={"x": "1", "a": "9", "y": "2"})
    assert seen_before(theirs, ours) == ["x", "y"]
    assert seen_before(replace(theirs, contents={}), ours) == []
