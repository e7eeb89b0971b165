"""Progress bars, all of one kind: rich, on stderr, silent where it is no terminal but for one line at the end."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Advance(Protocol):
    """Called with the amount of work just done, in the bar's unit."""

    def __call__(self, amount: float) -> None:
        """Moves the bar."""


@contextmanager
def progress_bar(title: str, total: float, unit: str) -> Iterator[Advance]:
    """Shows how much of ``total`` is done, the speed in ``unit``/s and the time left.

    Args:
        title: what is being done, a few words.
        total: amount of work; a whole number is counted in whole numbers. Where there is none, nothing is shown.
        unit: of the amount, such as ``"MP"``.
    """
    if not total:
        yield lambda amount: None
        return
    console = Console(stderr=True)
    digits = 0 if isinstance(total, int) else 1
    started, done = time.monotonic(), 0.0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:.{digits}f}}/{{task.total:.{digits}f}} {unit}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(title, total=total, speed="")

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            speed = done / max(time.monotonic() - started, 1e-9)
            bars.update(task, advance=amount, speed=f"{speed:.2f} {unit}/s")

        yield advance
    seconds = time.monotonic() - started
    speed = done / max(seconds, 1e-9)
    print(f"{title}: {done:.{digits}f} {unit} in {seconds:.1f} s ({speed:.2f} {unit}/s)", file=sys.stderr)
