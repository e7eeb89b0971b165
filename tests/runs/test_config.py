from pathlib import Path
from typing import Any

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import parse_config
from rcm_cascade.runs.identity import differences, effective, extends


def plain() -> dict[str, Any]:
    return compose_config([]).to_plain()


def test_a_composed_configuration_round_trips() -> None:
    assert parse_config(plain()) == compose_config([])


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        ("model.prior", "softmx", r"model\.prior: got 'softmx'; input should be 'softmax' or 'logits'"),
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
            r"augment\.rotate: no such key",
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
        ("model.design", "resnet", r"model: .*'resnet'.*'cascade', 'dynunet', 'ensemble'"),
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


def test_what_changes_the_result_makes_another_run() -> None:
    base = effective(compose_config([]))
    for same in (
        "run=other",
        "data.labelled_fraction=1",
        "logger=wandb",
        "data.num_workers=3",
        "data.cache_dir=x",
        "data.cache_gb=1",
        "extend=true",
    ):
        assert effective(compose_config([same])) == base
    for other in (
        "init=starter",
        "seed=1",
        "model.levels=2",
        "data.split_seed=1",
        "optim.lr=0.1",
        "trainer.max_epochs=3",
        "data.fold=0",
    ):
        assert effective(compose_config([other])) != base


def test_keys_that_came_later_leave_earlier_runs_as_they_were() -> None:
    before = plain()
    for section, key in (("trainer", "nodes"), ("optim", "freeze_norm"), ("data", "folds")):
        del before[section][key]
    del before["init"]
    assert parse_config(before) == compose_config([])


@pytest.mark.parametrize("text", ["set", "./set", "x/../set", "~/set"])
def test_a_path_is_the_same_however_it_is_written(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    keys = ("data.root", "data.split_file", "init")
    written, plainly = (compose_config(["data=folder", *(f"{key}={v}" for key in keys)]) for v in (text, "set"))
    assert effective(written) == effective(plainly)
    assert "~" not in str(written.data.root)
    assert effective(compose_config(["data=folder", "data.root=sets"])) != effective(plainly)


def test_phantoms_do_not_count_where_none_are_used() -> None:
    told = ["data.phantom.mosaics=3", "data.phantom.seed=7"]
    assert effective(compose_config(["data=folder", *told])) == effective(compose_config(["data=folder"]))
    assert effective(compose_config(told)) != effective(compose_config([]))


def test_differences_name_keys() -> None:
    old, new = (effective(compose_config(o)) for o in ([], ["model.levels=2", "seed=1"]))
    assert differences(old, new) == {"model.levels": "3 → 2", "seed": "0 → 1"}


@pytest.mark.parametrize(
    ("before", "now", "longer"),
    [
        (["trainer.max_epochs=3"], ["trainer.max_epochs=4"], True),
        ([], ["trainer.max_epochs=31"], True),
        (["trainer.max_steps=5"], ["trainer.max_steps=50"], True),
        (["trainer.max_time=00:00:10:00"], ["trainer.max_time=00:01:00:00"], True),
        (["trainer.max_epochs=3"], ["trainer.max_epochs=2"], False),
        (["trainer.max_epochs=3"], ["trainer.max_epochs=3"], False),
        (["trainer.max_epochs=3"], ["trainer.max_epochs=4", "seed=1"], False),
        (["trainer.max_epochs=3"], ["trainer.max_steps=4"], False),
    ],
)
def test_a_longer_run_is_the_same_but_for_its_limits(before: list[str], now: list[str], longer: bool) -> None:
    assert extends(compose_config(now), compose_config(before)) == longer


def test_a_fold_s_configuration_says_how_the_folds_were_made() -> None:
    data = compose_config(["data.fold=4"]).data
    assert (data.rule, data.folds, data.repeats) == ("patients", 5, None)
    data = compose_config(["data.fold=1", "data.rule=paper"]).data
    assert (data.rule, data.folds, data.repeats) == ("paper", None, 5)
    data = compose_config(["data.fold=9", "data.rule=sites"]).data
    assert (data.rule, data.folds, data.repeats) == ("sites", None, None)
    assert compose_config([]).data.rule is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.folds=3"], r"^data\.folds=3 says how folds are made.* \+sweep=crossval$"),
        (["data.rule=sites"], r"^data\.rule=sites says how"),
        (["data.fold=0", "data.split_file=a.csv"], "data.split_file and data.fold are both given"),
        (["data.fold=0", "data.rule=sites", "data.folds=3"], "data.folds=3 has no meaning with data.rule=sites"),
        (["data.fold=0", "data.repeats=3"], "data.repeats=3 has no meaning with data.rule=patients"),
        (["data.fold=0", "data.folds=1"], "data.folds: got 1; input should be greater than or equal to 2"),
        (
            ["data.fold=0", "data.rule=paper", "data.repeats=0"],
            "data.repeats: got 0; input should be greater than",
        ),
        (["data.fold=5"], "data.fold=5; expected 0 to 4"),
        (["data.fold=0", "data.rule=lesions"], r"data\.rule: got 'lesions'; .*'patients', 'sites' or 'paper'"),
        (["data.fold=-1"], r"data\.fold: got -1"),
    ],
)
def test_folds_that_make_no_sense_are_refused_in_a_sentence(overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        compose_config(overrides)
    assert "\n" not in str(caught.value)


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
