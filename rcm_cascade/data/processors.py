"""How many processors there are."""

import os


def processors() -> int:
    """Those that this process may use, where the system says; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
