import shutil
from pathlib import Path

import pytest
import yaml

from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadeArguments
from rcm_cascade.models.dynunet import DynUNetArguments
from rcm_cascade.models.ensemble import EnsembleArguments
from rcm_cascade.models.summary import summarise_network
from rcm_cascade.runs.compose import as_typed, compose_config, composed, config_folder, run_dir, text_keys
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
        ("optim.lr=ö", r"'optim\.lr=ö' cannot be read as KEY=VALUE; .* in quotes.*: \"KEY='VALUE'\"$"),
        ("optim.lr=a(", "cannot be read as KEY=VALUE"),
        ("data=Größe", "cannot be read as KEY=VALUE"),
        ("optim.lr='${x'", r"optim\.lr: \$\{…\} stands for no value here; give a key"),
        ("data.root=${nokey}", r"data\.root: \$\{…\} stands for no value here"),
        ("data.root=${oc.env:RCM_CASCADE_NO_SUCH}/x", r"data\.root: \$\{…\} stands for no value here"),
        ("optim.lr=yes", r"optim\.lr: got 'yes'; .*number"),
        ("optim.lr=true", r"optim\.lr: got 'true'; .*number"),
        ("data.batch_size=true", r"data\.batch_size: got 'true'; .*integer"),
        ("data.phantom.size_mm=[true,6]", r"size_mm: got 'true'; .*number"),
    ],
)
def test_a_wrong_key_says_which_exist_in_one_line(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        compose_config([override])
    assert "\n" not in str(caught.value)
    for theirs in ("viable", "mismatched", "token recognition", "LexerNo", "override", "Error"):
        assert theirs not in str(caught.value)


PATHS = [
    "x/Größe", "a=b", "epoch=1-step=2.ckpt", "a#b", "(a)", "a[1]", "{a}", "a&b", "it's", '"a', "a~", "~a", "a,b",
    "100%", "$a", "${a", "a b", "a: b", "2024_01_05", "1.10", "1e3", "007", "0", "true", "on", "-0", "NaN", "???",
    "NULL", "a ", " a", "a\\b", "a'\\", "${a b(}", "choice(a,b)", "https://a?b=c&d", "日本", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_and_names_are_taken_as_typed(path: str) -> None:
    config = compose_config([f"data.root={path}", f"++init={path}", f"logger.group={path}"])
    assert (config.data.root, config.init, config.logger.group) == (str(Path(path)), str(Path(path)), path)
    once = as_typed([f"data.root={path}"])
    assert as_typed(once) == as_typed(once, sweep=True) == once


@pytest.mark.parametrize("run", ["2024_01_05", "1.10", "1e3", "007", "0", "true", "on", "a=1 (b), ö", "it's"])
def test_a_run_s_folder_has_its_name_as_typed(run: str) -> None:
    found = composed(as_typed([f"run={run}"]), with_hydra=True)
    assert found.hydra.run.dir == f"runs/{run}"
    assert compose_config([f"run={run}"]).run == run


def test_what_is_written_for_hydra_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ö")
    given = {
        "null": None, "'null'": "null", "'a=b'": "a=b", '"a b"': "a b", r"a\=b": "a=b", r"'it\'s'": "it's",
        "${oc.env:HOME}/x": "/home/ö/x", "${oc.env:HOME}/a=b": "/home/ö/a=b", "~/Größe": "/home/ö/Größe",
        "v${seed}": "v0",
    }  # fmt: skip
    for text, path in given.items():
        assert compose_config([f"data.root={text}"]).data.root == path
    (tmp_path / "v${seed}").mkdir()
    assert compose_config(["data.root=v${seed}"]).data.root == "v${seed}"


def test_only_what_hydra_misreads_is_quoted_for_folders_are_named_after_it() -> None:
    plain = ["init=starter", "init=/x/a b.ckpt", "logger.group=2024", "init=a:b", "data.patch=16 px", "init=null"]
    assert as_typed(plain) == plain
    assert as_typed(["init=a=b"]) == ["init='a=b'"]


def test_free_text_is_found_in_the_configuration() -> None:
    assert {"data.root", "data.split_file", "data.cache_dir", "init", "run", "logger.group", "data.patch"} < text_keys()
    assert not {"data.source", "trainer.devices", "data.working_pixel_size_um", "seed", "extend"} & text_keys()


def test_in_a_sweep_commas_separate_values_but_in_paths_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/u")
    given = ["init=null, ~/x, a=1,'b,c',${oc.env:A,1},d'", "data.root=a,b", "run=a,b", "init=choice(a,b)"]
    assert as_typed(given, sweep=True) == [
        "init=null,/home/u/x,'a=1','b,c',${oc.env:A,1},'d\\''", "data.root=a,b", "run='a,b'", "init=choice(a,b)",
    ]  # fmt: skip
    (tmp_path / "a,b").mkdir()
    assert as_typed(["data.root=a,b"], sweep=True) == ["data.root='a,b'"]


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


@pytest.mark.parametrize("run", ["a${", "a::b"])
def test_run_names_are_no_references(run: str) -> None:
    with pytest.raises(InputError, match=r"holds \$\{ or ::, .*; give a plain name"):
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
