"""What was measured on: processor, software, commit; and the clocks."""

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from rcm_cascade import __version__

MATMUL = {"cpu": (2048, 1), "cuda": (8192, 20)}
"""Side of the factors, and products timed at once: a GPU does a small one in less time than it takes to be told to."""
MATMULS = 5
"""Times that are taken."""


def describe_machine(device: torch.device) -> dict[str, str]:
    """Processor, threads, software and commit."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": str(torch.get_num_threads()),
        "arithmetic": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "rcm_cascade": __version__,
        "commit": _commit(),
    }


def matmul_rate(device: torch.device, dtype: torch.dtype, tf32: bool = False) -> float:
    """Operations a second of a large matrix product, a multiply-add being two: what the hardware gives at best.

    Args:
        device: that computes.
        dtype: of the factors.
        tf32: whether a GPU may compute float32 in TF32, as it does in the convolutions of training.
    """
    side, products = MATMUL.get(device.type, MATMUL["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    with _matmul_precision("high" if tf32 and device.type == "cuda" else "highest"):
        for _ in range(MATMULS + 1):
            started = stopwatch(device)
            for _ in range(products):
                a @ b
            seconds.append((stopwatch(device) - started) / products)
    return float(2 * side**3 / median(seconds[1:]))


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Of the checkout that runs; ``+`` marks changes that are not committed."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
