"""Several processes that train one network: who this one is, and what they exchange."""

import os

import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce as all_reduce_with_gradient


def all_reduce(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with gradient; the tensor itself where there is one process.

    Each process then computes the same loss of the sums. Backward, its gradient is summed over the processes, which
    DDP's mean over them undoes: the gradient is that of one process with all batches.
    """
    if not _several():
        return values
    total: Tensor = all_reduce_with_gradient(values)  # type: ignore[no-untyped-call]
    return total


def broadcast(values: Tensor) -> Tensor:
    """Sets a tensor, in place, to what the first process has, and returns it."""
    if _several():
        dist.broadcast(values, 0)
    return values


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The number of this process among those of its job, before they have met.

    As torchrun (``RANK``), Slurm (``SLURM_PROCID``), or Lightning, which starts processes on one machine
    (``LOCAL_RANK``), says.
    """
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    return int(os.environ.get("SLURM_PROCID" if _slurm_tasks() else "LOCAL_RANK", "0"))


def started() -> int | None:
    """How many processes torchrun or Slurm has started for this job; None: this one, which may start others."""
    if "RANK" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1"))
    return _slurm_tasks()


def _slurm_tasks() -> int | None:
    """Of the step that ``srun`` started; None for one task, a batch script or a shell, as Lightning sees it, too."""
    if os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    return tasks if tasks > 1 else None
