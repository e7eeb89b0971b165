"""`rcm-cascade train`: one run, or each one of a sweep; its options are Hydra's overrides."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from rcm_cascade.runs.config import TrainConfig

USAGE: Final = "Usage: rcm-cascade train [KEY=VALUE ...] [--multirun]"
WIDTH: Final = 80


def train(context: typer.Context) -> None:
    """Train a cascade, or each one of a sweep.

    It trains on phantoms unless you name your own mosaics:

      rcm-cascade train               phantoms, 8 filters: minutes on two cores
      rcm-cascade train data=folder data.root=my-mosaics      your own mosaics
      rcm-cascade train experiment=paper data=folder data.root=my-mosaics
                                      the network of Kose et al. 2018
      rcm-cascade train +debug=fast   two steps, to see that everything works

    The run's folder is runs/NAME with run=NAME, else runs/<the overrides>. The same
    command again resumes an interrupted run and leaves a finished one alone.

    --multirun (-m) runs every combination of values given as a,b,c, one folder a
    job, and so does a +sweep; then see `rcm-cascade report`. --cfg job prints the
    configuration with its values. init takes a network of the same form only.
    """
    if {"--help", "-h"} & set(context.args):
        from rcm_cascade.runs.compose import config_folder

        print(USAGE, "", inspect.getdoc(train), "", *describe_choices(config_folder()), sep="\n")
        return
    from rcm_cascade.runs.launch import launch
    from rcm_cascade.runs.train import identify

    launch(context.args, run, identify)


def run(config: "TrainConfig", folder: Path) -> dict[str, Any]:
    """Trains in a run folder and writes its page; a run that was finished already keeps the page that it has.

    Launchers start processes that call this.

    Raises:
        InputError: if the configuration, the data or the folder is wrong.
    """
    from rcm_cascade.report.pages import write_run_page
    from rcm_cascade.runs.folder import RunFolder
    from rcm_cascade.runs.train import train
    from rcm_cascade.threads import leave_busy_cores

    leave_busy_cores()
    files = RunFolder(folder)
    result = train(config, folder)
    if result and not (files.report.is_file() and files.report.stat().st_mtime >= files.result.stat().st_mtime):
        write_run_page(folder)
    return result


def describe_choices(conf: Path) -> Iterator[str]:
    """The groups and what they offer, then every key with what its comment says, read from the YAML files.

    Args:
        conf: the folder that holds train.yaml and a folder for each group.
    """
    from rcm_cascade.yaml_file import read_yaml

    main = conf / "train.yaml"
    defaults: dict[str, str | None] = {}
    for entry in read_yaml(main)["defaults"]:
        if isinstance(entry, dict):
            defaults |= entry
    yield "Groups to choose from (group=name), the default first:"
    for group in sorted(path.name for path in conf.iterdir() if path.is_dir()):
        names = sorted(path.stem for path in (conf / group).glob("*.yaml") if path.stem != "base")
        names.sort(key=lambda name: name != defaults.get(group))
        yield from _wrapped(f"{group if group in defaults else f'+{group}'}=", " | ".join(names))
    yield ""
    yield "Keys (key=value):"
    yield from _keys(main, "")
    for group, name in defaults.items():
        if name is not None and (conf / group / f"{name}.yaml").is_file():
            yield from _keys(conf / group / f"{name}.yaml", f"{group}.")


def _keys(path: Path, prefix: str) -> Iterator[str]:
    """The keys of a group's file, and of the file that it begins with."""
    text = path.read_text("utf-8")
    if text.startswith("# @package _global_"):  # values for keys of other groups
        return
    parents: list[str] = []
    for line in text.partition("\nhydra:")[0].splitlines():
        base = re.fullmatch(r"defaults: \[(\w+)\]", line)
        if base:
            yield from _keys(path.with_name(f"{base[1]}.yaml"), prefix)
            continue
        found = re.fullmatch(r"( *)(\w+):\s*([^#]*?)\s*(?:#\s*(.*))?", line)
        if found is None:
            continue
        indent, name, value, comment = found.groups()
        del parents[len(indent) // 2 :]
        if value and name != "source":  # which is the group's choice itself
            yield from _wrapped(prefix + ".".join([*parents, name]), comment or "")
        parents.append(name)


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(f"  {name:<30} {text}", WIDTH, subsequent_indent=" " * 33)
