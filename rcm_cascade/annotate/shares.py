"""Which of several processes annotates which mosaics: torchrun's, Slurm's tasks, the jobs of a Slurm array."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from rcm_cascade.errors import InputError
from rcm_cascade.training.ranks import rank, started


@dataclass(frozen=True)
class Share:
    """A process's part of a list.

    Args:
        number: of the process, from 0, over all machines and jobs.
        processes: how many share the list.
        local: number of the process on its machine.
    """

    number: int = 0
    processes: int = 1
    local: int = 0

    def of(self, files: Sequence[Path]) -> list[Path]:
        """This process's files, in their order. All processes cut one list alike; large files are dealt out first."""
        dealt = sorted(range(len(files)), key=lambda i: -_bytes(files[i]))
        return [files[i] for i in sorted(dealt[self.number :: self.processes])]

    @property
    def device(self) -> str:
        """Where this process computes: of several GPUs that it sees, its own."""
        gpus = torch.cuda.device_count()
        return f"cuda:{self.local % gpus}" if gpus > 1 and self.processes > 1 else "auto"


def this_share() -> Share:
    """This process's, by its environment: ``RANK`` and ``WORLD_SIZE``, ``SLURM_PROCID``, ``SLURM_ARRAY_TASK_ID``.

    Raises:
        InputError: if the indices of an array leave gaps, from which no share can be told.
    """
    tasks = started() or 1
    task = rank() if tasks > 1 else 0
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    if "SLURM_ARRAY_TASK_ID" not in os.environ:
        return Share(task, tasks, local)
    index, first, last, jobs = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "MAX", "COUNT"))
    step = max((last - first) // max(jobs - 1, 1), 1)
    job = (index - first) // step
    if first + job * step != index or first + (jobs - 1) * step != last:
        raise InputError(
            f"the Slurm array has {jobs} indices from {first} to {last} with gaps; give --array=0-{jobs - 1}, so that "
            "each job knows its share of the mosaics"
        )
    return Share(job * tasks + task, jobs * tasks, local)


def _bytes(path: Path) -> int:
    with suppress(OSError, ValueError):
        return path.stat().st_size
    return 0
