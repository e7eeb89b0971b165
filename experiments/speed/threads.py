"""What another program costs a training step: OpenMP's threads that wait long or briefly, beside idle and busy cores.

Eight filters, batches of 16 × 64 × 64 px, a process for each row, medians. Usage: python -m experiments.speed.threads
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Annotated, Final

import typer

from experiments.script import run, table

WAYS: Final = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "all, waiting as OpenMP does by itself": {"GOMP_SPINCOUNT": ""},
    "all, waiting briefly: ours": {},
    "all, asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""Environment of each way."""

SECONDS: Final = 8
WARM_UP: Final = 3


@contextmanager
def busy_core() -> Iterator[None]:
    """Another program that computes all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def step_ms(seconds: float) -> float:
    """Median milliseconds of a step in this process."""
    import torch
    import torch.nn.functional as F

    from rcm_cascade.models import CascadedUNet

    torch.manual_seed(0)
    network = CascadedUNet(num_classes=6, levels=3, base_filters=8)
    optimiser = torch.optim.AdamW(network.parameters())
    x, y = torch.rand(16, 1, 64, 64), torch.randint(0, 6, (16, 64, 64))
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < WARM_UP or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        optimiser.zero_grad()
        F.cross_entropy(network(x)[-1], y).backward()  # type: ignore[no-untyped-call]  # not typed
        optimiser.step()
        taken.append(time.perf_counter() - before)
    return 1e3 * median(taken[WARM_UP - 1 :])


def measured(way: dict[str, str], seconds: float, busy: bool) -> float:
    """The same in a process of its own, beside a busy core or none."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))} | way
    command = [sys.executable, "-m", "experiments.speed.threads", "--step", "--seconds", str(seconds)]
    with ExitStack() as beside:
        if busy:
            beside.enter_context(busy_core())
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(
    step: Annotated[bool, typer.Option("--step", help="Print the milliseconds of a step in this process.")] = False,
    seconds: Annotated[float, typer.Option(metavar="S", min=0, help="Of each measurement.")] = SECONDS,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Medians of so many.")] = 3,
) -> None:
    if step:
        print(step_ms(seconds))
        return
    taken = [{(name, busy): measured(WAYS[name], seconds, busy) for name in WAYS for busy in (False, True)}
             for _ in range(rounds)]  # fmt: skip
    rows = [[name, *(f"{median(found[name, busy] for found in taken):.0f}" for busy in (False, True))] for name in WAYS]
    print(f"{os.cpu_count()} cores; milliseconds of a step, medians of {rounds} rounds")
    print(table(["threads", "idle", "one core busy"], rows))


if __name__ == "__main__":
    run(main)
