import shutil
from pathlib import Path

import pytest
import yaml

from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.models.ensemble import EnsembleArguments
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.runs.compose import compose_config, config_folder, run_dir
from rcm_cascade.runs.config import TrainConfig, parse_config

GROUPS = [
    f"{folder.name}={file.stem}"
    for folder in sorted(config_folder().iterdir())
    if folder.is_dir()
    for file in sorted(folder.glob("*.yaml"))
    if file.stem != "base"
]


@pytest.mark.parametrize("choice", GROUPS)
def test_every_config_composes(choice: str) -> None:
    compose_config([("+" if choice.startswith(("debug", "sweep")) else "") + choice])


def test_there_are_configs() -> None:
    assert len(GROUPS) >= 12


def test_the_paper_experiment_is_the_papers_form_at_any_scale() -> None:
    for overrides in (["experiment=paper"], ["experiment=paper", "scale=cpu"]):
        levels = summarise_network(compose_config(overrides).model.arguments(num_classes=6))
        assert sum(level.parameters for level in levels) == 5_717_634
        assert sum(level.convolutions for level in levels) == 54


def test_debug_leaves_the_model_as_configured() -> None:
    config = compose_config(["+debug=fast", "model.levels=2", "model.base_filters=5"])
    assert (config.model.arguments(6).levels, config.model.base_filters) == (2, 5)
    assert config.max_epochs == 1


def test_the_command_line_beats_scale_and_experiment() -> None:
    assert compose_config(["experiment=paper", "model.base_filters=7"]).model.base_filters == 7


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.levls=3", r"model\.levls: no such key; known are .*levels"),
        ("modl.levels=3", "modl"),
        ("model=resnet", r"resnet.*cascade.*unet"),
        ("nonsense=3", r"nonsense: no such key; known are .*data.*model"),
        ("model.levels=[", r"model\.levels=\["),
        ("model.levels=0", r"model\.levels: got 0"),
    ],
)
def test_a_wrong_key_says_which_exist_in_one_line(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        compose_config([override])
    assert "\n" not in str(caught.value)


def test_run_folders() -> None:
    assert run_dir("mine", "a=1") == str(Path("runs/mine"))
    assert run_dir(None, "") == str(Path("runs/default"))
    assert run_dir(None, "model.levels=2,seed=1") == str(Path("runs/model.levels=2,seed=1"))
    assert "/" not in run_dir(None, "loss.level_weights=[1, 2]/x").removeprefix("runs/")
    long = run_dir(None, "k=" + "v" * 500)
    assert len(long) < 200
    assert long != run_dir(None, "k=" + "v" * 501)


@pytest.mark.parametrize("run", ["../other", "/tmp/x", "a/../../b"])
def test_run_names_stay_below_runs(run: str) -> None:
    with pytest.raises(InputError, match="leads out of runs/"):
        compose_config([f"run={run}"])


def test_designs_are_what_their_names_say() -> None:
    def composed(name: str) -> TrainConfig:
        return compose_config([f"model={name}"])

    assert composed("cascade").model.arguments(6) == CascadeArguments(base_filters=8)
    assert composed("cascade_detached").model.arguments(6) == CascadeArguments(base_filters=8, detach_prior=True)
    assert composed("cascade_logits").model.arguments(6) == CascadeArguments(base_filters=8, prior="logits")
    assert composed("ensemble").model.arguments(6) == EnsembleArguments(base_filters=8)
    assert composed("unet").model.arguments(6) == CascadeArguments(base_filters=8, levels=1, base_depth=4)
    assert composed("unet_parameters").model.equal == "parameters"
    assert composed("unet_flops").model.equal == "flops"
    assert composed("dynunet").model.arguments(6) == DynUNetArguments(base_filters=8, base_depth=4)
    assert [composed(name).loss.level_weights for name in ("cascade", "ensemble", "dynunet")] == [
        "equal", "equal", "fine",
    ]  # fmt: skip
    assert compose_config(["loss=finest"]).loss.of_levels(3) == (0, 0, 1)
    assert compose_config(["loss=finest"]).model == composed("cascade").model
    assert compose_config(["model=dynunet", "loss.level_weights=last"]).loss.level_weights == "last"


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_a_scale_overrides_neither_a_model_that_names_its_filters_nor_the_command_line(
    scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(config_folder(), tmp_path / "conf")
    (tmp_path / "conf" / "model" / "wide.yaml").write_text("defaults: [cascade]\nbase_filters: 40\n")
    monkeypatch.setattr("rcm_cascade.runs.compose.config_folder", lambda: tmp_path / "conf")
    assert compose_config([f"scale={scale}", "model=wide"]).model.base_filters == 40
    assert compose_config(["model=wide", f"scale={scale}", "model.base_filters=7"]).model.base_filters == 7
    assert compose_config([f"scale={scale}"]).model.base_filters == {"cpu": 8, "paper": 24}[scale]


def test_the_configuration_of_a_run_of_before_is_that_of_a_design() -> None:
    before = Path(__file__).parent / "f22ba43" / "sweep"
    for prior, design in (("softmax", "cascade"), ("none", "ensemble")):
        plain = yaml.safe_load((before / f"model.prior={prior},seed=0" / "config.yaml").read_text())
        config = parse_config({key: value for key, value in plain.items() if key != "hash"})
        assert config.model.design == design
        assert parse_config(config.to_plain()) == config


@pytest.mark.parametrize("experiment", [choice for choice in GROUPS if choice.startswith("experiment=")])
def test_an_experiment_leaves_the_design_as_chosen(experiment: str) -> None:
    designs = [choice for choice in GROUPS if choice.startswith("model=")]
    for design in designs:
        alone, within = compose_config([design]), compose_config([experiment, design])
        assert within.model.model_dump(exclude={"base_filters"}) == alone.model.model_dump(exclude={"base_filters"})
        assert within.loss == alone.loss


def test_a_second_experiment_does_not_replace_the_first_in_silence() -> None:
    with pytest.raises(InputError, match=r"2 times, .* give 'experiment=\[paper,from_starter\]'"):
        compose_config(["experiment=paper", "experiment=from_starter"])
    both = compose_config(["experiment=[paper,from_starter]"])
    assert (both.init, both.model.base_filters) == ("starter", 12)


def test_a_wrong_choice_is_answered_with_those_that_exist() -> None:
    with pytest.raises(
        InputError, match=r"'experiment/papr' Available options in 'experiment': .* paper.*[^:]$"
    ) as caught:
        compose_config(["experiment=papr"])
    assert "provider" not in str(caught.value)


def test_debug_goes_with_a_number_of_steps() -> None:
    assert compose_config(["+debug=fast", "experiment=ablation"]).trainer.max_steps is None
