"""How many processors there are."""

import os


def processors() -> int:
    """Those that this process may use, where the system says; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_processors(beside: int, by_slurm: bool) -> int:
    """Those that are this process's alone, 1 or more.

    Args:
        beside: processes of its job on this machine, itself included.
        by_slurm: whether Slurm has started each of them, as a task with processors of its own.
    """
    given = os.environ.get("SLURM_CPUS_PER_TASK", "") if by_slurm else ""
    return max(1, min(processors(), int(given)) if given.isdecimal() else processors() // beside)
