from typing import Any

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import config_hash, differences, effective, parse_config


def plain() -> dict[str, Any]:
    return compose_config([]).to_plain()


def test_a_composed_configuration_round_trips() -> None:
    assert parse_config(plain()) == compose_config([])


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        ("model.prior", "softmx", r"model\.prior: got 'softmx'; input should be 'softmax', 'logits' or 'none'"),
        ("model.levels", 0, r"model\.levels: got 0; .*greater than or equal to 1"),
        ("model.levels", "three", r"model\.levels: got 'three'; .*integer"),
        ("data.sampling", "random", r"data\.sampling: .*'grid' or 'balanced'"),
        ("data.source", "disk", r"data\.source: .*'phantom' or 'folder'"),
        ("data.working_pixel_size_um", "big", r"data\.working_pixel_size_um: got 'big'; .*'native'"),
        ("loss.level_weights", "middle", r"loss\.level_weights: got 'middle'; .*'equal', 'coarse', 'fine' or 'last'"),
        ("augment.rotation", 200, r"augment\.rotation: got 200; input should be less than or equal to 180"),
        (
            "augment.rotate",
            3,
            r"augment\.rotate: no such key; known are flip, intensity, intensity_shift, rotation, shear",
        ),
        (
            "augment.intensity",
            {"gain": {"strength": -1}},
            r"augment\.intensity\.gain\.strength: got -1; .*greater than or equal",
        ),
        (
            "augment.intensity",
            {"blur": {"strength": 9}},
            r"augment: intensity\.blur\.strength 9 is out of range \(0 to 2\)",
        ),
        ("data.rooot", "x", r"data\.rooot: "),
        ("trainer.max_time", "10 minutes", r"trainer\.max_time: got '10 minutes'; input should be DD:HH:MM:SS"),
        ("trainer.max_time", "00:00:00:00", "no time at all"),
        ("seed", -1, "seed: got -1"),
        ("model.network", "dynunet", "network is 'dynunet' with 3 levels"),
        ("trainer", {**plain()["trainer"], "max_epochs": 3, "max_steps": 3}, "max_steps are both given"),
        ("trainer", {**plain()["trainer"], "compile": True, "recompute": True}, "give trainer.compile or it, not both"),
        ("data.labelled_fraction", 0, r"data\.labelled_fraction: got 0"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(keys: str, value: object, words: str) -> None:
    config = plain()
    *parents, last = keys.split(".")
    section = config
    for name in parents:
        section = section[name]
    section[last] = value
    with pytest.raises(InputError, match=words) as caught:
        parse_config(config)
    assert "\n" not in str(caught.value)


def test_the_hash_knows_what_changes_the_result() -> None:
    base = config_hash(compose_config([]))
    for same in (
        "run=other",
        "data.labelled_fraction=1",
        "logger=wandb",
        "data.num_workers=3",
        "data.cache_dir=x",
        "data.cache_gb=1",
    ):
        assert config_hash(compose_config([same])) == base
    for other in (
        "init=starter",
        "seed=1",
        "model.levels=2",
        "data.split_seed=1",
        "optim.lr=0.1",
        "trainer.max_epochs=3",
    ):
        assert config_hash(compose_config([other])) != base


def test_keys_that_came_later_leave_earlier_runs_as_they_were() -> None:
    before = plain()
    for section, key in (("trainer", "nodes"), ("optim", "freeze_norm")):
        del before[section][key]
    del before["init"]
    assert config_hash(parse_config(before)) == config_hash(compose_config([]))
    assert differences(effective(before), effective(plain())) == []


def test_differences_name_keys() -> None:
    old, new = (effective(compose_config(o).to_plain()) for o in ([], ["model.levels=2", "seed=1"]))
    assert differences(old, new) == ["model.levels: 3 → 2", "seed: 0 → 1"]


def test_a_time_limit_alone_lifts_the_limit_on_epochs() -> None:
    assert compose_config([]).max_epochs == 30
    assert compose_config(["trainer.max_time=00:00:10:00"]).max_epochs == -1
    assert compose_config(["trainer.max_time=00:00:10:00", "trainer.max_epochs=7"]).max_epochs == 7
    assert compose_config(["trainer.max_steps=201"]).max_epochs == -1


def test_of_many_missing_keys_the_first_are_named() -> None:
    config = plain()
    config["data"], config["trainer"] = {}, {}
    with pytest.raises(InputError, match=r"data\.source: is missing; .*; and \d+ more$") as caught:
        parse_config(config)
    assert str(caught.value).count("is missing") == 8
