"""Progress bars, all of one kind: rich, on stderr, silent where it is no terminal but for one line at the end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[float], None]
"""Called with the amount of work just done, in the bar's unit."""


@contextmanager
def progress_bar(title: str, total: float, unit: str) -> Iterator[Advance]:
    """Shows how much of ``total`` is done and the time left; at the end the time taken and the speed in ``unit``/s.

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
    amounts = TextColumn(f"{{task.completed:.{digits}f}}/{{task.total:.{digits}f}} {unit}")
    columns = TextColumn("{task.description}", markup=False), BarColumn(), amounts, TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        yield partial(bars.advance, bars.add_task(title, total=total))
        done, seconds = bars.tasks[0].completed, bars.tasks[0].elapsed or 0.0
    speed = done / max(seconds, 1e-9)
    print(f"{title}: {done:.{digits}f} {unit} in {seconds:.1f} s ({speed:.2f} {unit}/s)", file=sys.stderr)
