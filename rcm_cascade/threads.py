"""How many threads compute on a machine that others use too, and how they wait for each other."""

import os
import sys
from typing import Final

SPINS: Final = "2000"
"""Turns that a thread of OpenMP waits before it sleeps; `experiments/speed/threads.py` measures what it costs and
saves. By its own default it turns hundreds of thousands of times, and keeps off the thread that it waits for."""

SAMPLE_S: Final = 0.2
"""Seconds for which one looks at how busy the processor is."""

_left: Final[list[str]] = []


def wait_briefly() -> None:
    """Has OpenMP's threads sleep soon; of effect before PyTorch is imported, and where the user has not chosen."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def leave_busy_cores() -> None:
    """Has PyTorch compute on no more threads than there are idle cores, one at least; `say_what_is_left` says so.

    A thread that shares its core makes all others wait in each operation. Where ``OMP_NUM_THREADS`` is set the user,
    or what has started several processes, has chosen.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    import torch

    threads = torch.get_num_threads()
    free = min(threads, max(1, _idle_cores()))
    if free < threads:
        torch.set_num_threads(free)
        _left.append(
            f"other programs keep {threads - free} of {threads} cores busy: computing on {free} "
            f"(OMP_NUM_THREADS={threads} takes all)"
        )


def say_what_is_left() -> None:
    """Prints, once, that cores were left to others: when computing begins, and not in front of an error."""
    while _left:
        print(_left.pop(), file=sys.stderr)


def _idle_cores() -> int:
    """Of those that this process may run on: on a shared node the others' are nobody's business here."""
    import psutil

    shares: list[float] = psutil.cpu_percent(SAMPLE_S, percpu=True)
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    return len(own) - round(sum(shares[core] for core in own) / 100)
