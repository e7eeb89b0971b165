"""What was measured on: processor, software, commit; the clocks; and what is timed in turns."""

import multiprocessing
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from rcm_cascade.models import Arguments
from rcm_cascade.models.summary import summarise_network

MATMUL = {"cpu": (2048, 1), "cuda": (8192, 20)}
"""Side of the factors, and products timed at once: a GPU does a small one in less time than it takes to be told to."""
MATMULS = 5
"""Times that are taken."""

T = TypeVar("T")


@dataclass
class Timed:
    """Something to time.

    Args:
        name: as the table shows it.
        run: does it once; gives the seconds that one unit of it took: a step, a patch, a megapixel.
        seconds: of a unit, one number a round.
    """

    name: str
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds of a unit."""
        return median(self.seconds)


def take_turns(contenders: Sequence[Timed], rounds: int) -> None:
    """Runs all of them in turn, so many times, so that what else the machine does falls on each alike."""
    for number in range(rounds):
        for contender in contenders:
            contender.seconds.append(contender.run())
            print(f"round {number + 1}: {contender.name}: {contender.seconds[-1] * 1e3:.2f} ms", file=sys.stderr)


def alone(function: Callable[..., T], *arguments: object) -> T:
    """What a function gives in a process of its own, whose memory is nobody else's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def describe_machine(device: torch.device) -> dict[str, str]:
    """Processor, threads, software and commit."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": str(torch.get_num_threads()),
        "arithmetic": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "commit": commit(),
    }


def commit() -> str:
    """Of the checkout that runs, in short; ``+`` marks changes that are not committed."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def matmul_rate(device: torch.device, dtype: torch.dtype, tf32: bool = False) -> float:
    """Operations a second of a large matrix product, a multiply-add being two: what the hardware gives at best.

    Args:
        device: that computes.
        dtype: of the factors.
        tf32: whether a GPU may compute float32 in TF32, as it does in the convolutions of training.
    """
    side, products = MATMUL.get(device.type, MATMUL["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds, before = [], torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 and device.type == "cuda" else "highest")
    for _ in range(MATMULS + 1):
        started = stopwatch(device)
        for _ in range(products):
            a @ b
        seconds.append((stopwatch(device) - started) / products)
    torch.set_float32_matmul_precision(before)
    return float(2 * side**3 / median(seconds[1:]))


def floor_s_per_mp(
    arguments: Arguments, device: torch.device, dtype: torch.dtype, tf32: bool = False
) -> tuple[float, float]:
    """Seconds of a megapixel if all operations ran as fast as a large matrix product; and that speed, operations/s.

    Args:
        arguments: of the network, which sees the megapixel once, forward.
        device: as for `matmul_rate`, and so are the others.
        dtype: see there.
        tf32: see there.
    """
    rate = matmul_rate(device, dtype, tf32)
    return sum(s.gflop_per_mp for s in summarise_network(arguments)) * 1e9 / rate, rate


def stopwatch(device: torch.device) -> float:
    """Seconds, when all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_memory() -> int:
    """Bytes that this process held at most, as the system counts them.

    Linux hands what `getrusage` tells on to a process from the one that started it, so that a small process looks as
    large as its parent; the process's own count is in ``/proc``.
    """
    if sys.platform == "linux":
        return int(_value(Path("/proc/self/status"), "VmHWM").split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _processor() -> str:
    told = _value(Path("/proc/cpuinfo"), "model name") if sys.platform == "linux" else platform.processor()
    return told or platform.machine()


def _value(file: Path, key: str) -> str:
    """What a file of lines ``key: value`` says first; empty where it says nothing."""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for found, _, value in lines if found.strip() == key), "")
