"""The learning rate over a run's progress, and what progress is when steps, time or both are limited."""

import math


def progress(step: int, max_steps: int | None, elapsed: float, max_time: float | None) -> float:
    """How much of a run is done: the larger of the share of its steps and the share of its time, in [0, 1].

    Args:
        step: optimiser steps taken.
        max_steps: steps of the whole run; None: not limited.
        elapsed: seconds spent training, over all resumed parts.
        max_time: seconds of the whole run; None: not limited.
    """
    shares = [0.0]
    if max_steps:
        shares.append(step / max_steps)
    if max_time:
        shares.append(elapsed / max_time)
    return min(max(shares), 1.0)


def warmup_cosine(done: float, warmup: float, final: float) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine (Loshchilov & Hutter 2017).

    Args:
        done: progress in [0, 1].
        warmup: share of the run that warms up, [0, 1).
        final: factor at the end.

    Returns:
        A factor in (0, 1].
    """
    if done < warmup:
        return max(done / warmup, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    return final + (1 - final) * cosine
