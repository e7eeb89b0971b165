"""How much memory annotation may take, and what it makes of it."""

import os
import re
import tempfile
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from rcm_cascade.annotate.tiling import LevelPlan
from rcm_cascade.errors import InputError

CPU_BUDGET: Final = 2 * 10**9
"""Bytes on a CPU by default."""

GPU_SHARE: Final = 0.8
"""Of the free memory of a GPU, by default."""

STRIP_SHARE: Final = 0.5
"""Of the budget that strips may take; the other half is for priors."""

FEATURES_PER_FILTER: Final = 18
"""Numbers that a strip keeps alive for each of its px and each base filter: measured, OpenVINO's activations and the
skip connections that wait for the decoder."""

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|can't allocate|cannot allocate|bad[ _]alloc|not enough memory|STATUS_ALLOC_FAILED", re.I
)


def parse_memory(text: str) -> int:
    """Bytes of a text such as ``2 GB``, ``500MB`` or ``1.5G``.

    Raises:
        InputError: if it is none, or 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if not size:
        raise InputError(f"the memory is {text!r}; expected a size such as '2 GB' or '500 MB'")
    return size


def default_budget(device: torch.device) -> int:
    """Bytes that annotation may take on a device: 2 GB on a CPU, most of what is free on a GPU."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, from before
        return int(GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + kept))
    return CPU_BUDGET


def strip_pixels(budget: int, base_filters: int, dtype: torch.dtype) -> int:
    """Px of the largest strip that fits into a budget of bytes."""
    return int(STRIP_SHARE * budget / (FEATURES_PER_FILTER * base_filters * dtype.itemsize))


def priors_fit(budget: int, plans: Sequence[LevelPlan], classes: int, dtype: torch.dtype) -> bool:
    """Whether the coarse levels' priors, of which two are alive at once, fit into what strips leave of a budget."""
    frames = [p.frame[0] * p.frame[1] for p in plans[:-1]]
    most = max((a + b for a, b in zip([0, *frames], frames, strict=False)), default=0)
    return most * classes * dtype.itemsize <= (1 - STRIP_SHARE) * budget


def tensor_on_disk(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor that lives in a temporary file, which goes with it.

    Raises:
        InputError: if the disk has no room for it.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    with tempfile.TemporaryFile(prefix="rcm_cascade-") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a sparse file would kill the process when the disk is full
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()} has no room for {size / 1e9:.2f} GB of intermediate results "
                f"({error.strerror}); set TMPDIR to another folder, or allow more memory with --memory"
            ) from error
        mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    return torch.from_numpy(mapped).view(dtype).reshape(tuple(shape))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: each library has its own."""
    said = isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(said)
