import re
import shutil
from pathlib import Path

import pytest

from rcm_cascade.cli import main
from rcm_cascade.commands.train import describe_choices
from rcm_cascade.runs.compose import compose_config, config_folder


def test_the_help_names_every_group_choice_and_key_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    told = capsys.readouterr().out
    for path in config_folder().glob("*/*.yaml"):
        assert path.stem == "base" or re.search(rf"\b{path.stem}\b", told), path
    plain = compose_config([]).to_plain()
    keys = [f"{group}.{key}" for group, value in plain.items() if isinstance(value, dict) for key in value]
    assert len(keys) > 40
    missing = [key for key in keys if key != "data.source" and f"  {key}" not in told]
    assert missing == []
    assert main(["train", "-h", "seed=1"]) == 0
    assert capsys.readouterr().out == told


def test_a_new_group_and_a_new_key_appear_by_themselves(tmp_path: Path) -> None:
    conf = Path(shutil.copytree(config_folder(), tmp_path / "conf"))
    (conf / "sweep" / "gamma.yaml").write_text("# @package _global_\n", encoding="utf-8")
    with (conf / "optim" / "adamw.yaml").open("a", encoding="utf-8") as file:
        file.write("momentum: 0.9 # of the first moment\n")

    told = "\n".join(describe_choices(conf))

    assert re.search(r"\+sweep=.*\n?.*gamma", told)
    assert re.search(r"  optim\.momentum +of the first moment", told)
