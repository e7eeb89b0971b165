"""What the scripts share: the command line by Typer, tables in Markdown, and numbers as these show them."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import typer
from numpy.typing import NDArray

from rcm_cascade.classes import ClassTable
from rcm_cascade.cli import exit_status
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.bootstrap import Difference, pool_by_patient
from rcm_cascade.evaluate.results import read_results
from rcm_cascade.report.tables import result_texts
from rcm_cascade.report.text import UNDEFINED, interval_text, signed


def run(command: Callable[..., object]) -> NoReturn:
    """Runs a script's function with what the command line says; what the user did wrong is one sentence."""
    sys.exit(exit_status(program(command), sys.argv[1:]))


def program(command: Callable[..., object]) -> typer.Typer:
    """The command line of a function: its parameters, and the words of its module as help."""
    found = typer.Typer(name=Path(inspect.getfile(command)).name, add_completion=False, rich_markup_mode=None)
    found.command(help=sys.modules[command.__module__].__doc__)(command)
    return found


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table in Markdown: so many columns of words, then numbers, which stand on the right."""
    rule = "|".join(["---"] * words + ["---:"] * (len(heads) - words))
    first, *lines = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([first, f"|{rule}|", *lines])


def short(number: str) -> str:
    """A number without the zero before its point."""
    return number.replace("0.", ".")


def spread(values: Sequence[float] | NDArray[np.float64], digits: int = 3) -> str:
    """Mean, and standard deviation of several."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def difference_text(difference: Difference, digits: int = 3) -> str:
    """``"**+0.120** (+0.060 to +0.180)"``, bold where the interval leaves out zero; a dash where undefined."""
    if difference.value is None:
        return UNDEFINED
    bold = "**" if difference.differs else ""
    interval = f" ({interval_text(difference.interval, digits)})" if difference.interval else ""
    return f"{bold}{signed(difference.value, digits)}{bold}{interval}"


def rcm_cascade(*words: object) -> None:
    """Runs a command of rcm-cascade in a process of its own, on one core.

    Raises:
        InputError: if it fails, with what it said.
    """
    command = [sys.executable, "-m", "rcm_cascade", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr[-2000:]}")


def refuse_outside_runs(out: Path) -> None:
    """Refuses a folder in which training cannot put its runs.

    Raises:
        InputError: if it is not inside ``runs/``.
    """
    if out.parts[:1] != ("runs",):
        raise InputError(f"{out} is not inside runs/, where training puts its folders; give --out runs/NAME")


def by_patient(folders: Iterable[Path]) -> NDArray[np.int64]:
    """Confusion matrices ``(P, C, C)`` of the patients in some evaluations, of each one."""
    results = [each for folder in folders for each in read_results(folder / "confusions.json")[1]]
    return pool_by_patient([each.confusion for each in results], [each.patient for each in results])


def class_table(summary: Mapping[str, Any], classes: ClassTable, *, paper: bool = False) -> str:
    """Every metric of each class with its interval, and the mean.

    Args:
        summary: as `summarise` gives it.
        classes: the class table; the paper's six for its numbers.
        paper: whether the paper's sensitivity and specificity stand beside ours.
    """
    texts = result_texts(summary, classes).drop(columns=[] if paper else "paper", errors="ignore")
    texts["class"] = texts["class"].replace("mean", "**mean**")
    return table(texts.columns.tolist(), texts.map(short).to_numpy().tolist())
