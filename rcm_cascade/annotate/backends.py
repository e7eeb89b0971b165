"""What runs a level's network over a mosaic, in which precision and memory: the general way; `cpu` adds faster ones."""

import copy
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rcm_cascade.annotate.tiling import LevelPlan, Span
from rcm_cascade.errors import InputError
from rcm_cascade.models import Network

PRECISIONS: Final = ("auto", "fp32", "bf16", "int8")
"""``fp32``: the network's dtype; ``bf16``: bfloat16; ``auto``: ``bf16`` where the processor computes in it, else
``fp32``; ``int8``: of a checkpoint that was quantised."""

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

Read = Callable[[Span], Tensor]
"""What a level's network sees of some rows of a band, ``(1, C, rows, width)``, zero below the padded mosaic."""


@dataclass(frozen=True)
class AnnotationOptions:
    """How mosaics are annotated.

    Args:
        tile: height of a strip and width of a band in px of each level, rounded up to the level's alignment; None:
            chosen for speed, within the memory.
        memory: bytes that strips and priors may take, beside image and labels; None: 2 GB on a CPU, most of what is
            free on a GPU. Priors that do not fit go to a temporary file.
        precision: one of `PRECISIONS`.
        backend: ``auto``, or a name in `BACKENDS`.
    """

    tile: int | None = None
    memory: int | None = None
    precision: str = "auto"
    backend: str = "auto"


class Backend(ABC):
    """A network, ready to run level by level. Weights are those of the moment when it was made.

    Args:
        model: left as it is, in training or eval mode.
        precision: ``fp32``, ``fp64``, ``bf16`` or ``int8``.
    """

    name: ClassVar[str]

    def __init__(self, model: Network, precision: str) -> None:
        parameter = next(model.parameters())
        self.arguments = model.arguments
        self.geometry = model.geometry
        self.alignment = model.alignment
        self.device: torch.device = parameter.device
        self.dtype: torch.dtype = parameter.dtype
        self.precision = precision
        self.handed_on, self.merged = model.handed_on, model.merged
        self.prior_dtype = torch.bfloat16 if precision == "bf16" else self.dtype
        """In what a whole level's prior is kept."""
        self.compute_dtype = self.prior_dtype
        """Of what goes into a level's network and comes out."""
        self.streams = 1
        """Bands that run best at a time; `run` is then called in several threads."""

    def at_once(self, bands: int) -> int:
        """How many of a level's bands run at a time."""
        return min(self.streams, bands)

    def budget(self, memory: int | None) -> int:
        """Bytes that strips and priors may take: ``memory``, else what the device has."""
        return default_budget(self.device) if memory is None else memory

    @abstractmethod
    def run(self, level: int, plan: LevelPlan, width: int, read: Read) -> Iterator[tuple[Span, Tensor]]:
        """Runs a level's network over a band of columns, from top to bottom.

        Args:
            level: 0 is the coarsest.
            plan: of the level.
            width: of the band in px of the level, a multiple of its alignment.
            read: gives the network's input.

        Yields:
            Rows, which follow each other and cover what the plan covers, and their logits ``(1, C, rows, width)``.
        """


class HaloBackend(Backend):
    """PyTorch, for any network: each strip is computed with its halo, a part of the work being done twice.

    Args:
        model: as for `Backend`; batch norm only, or the strips' statistics would not be the whole's.
        precision: as for `Backend`.
    """

    name = "torch"

    def __init__(self, model: Network, precision: str) -> None:
        super().__init__(model, precision)
        # Folded: one pass over the activations less for each convolution, and in bf16 one rounding less.
        self._levels = folded(model).to(self.compute_dtype, memory_format=torch.channels_last).levels  # type: ignore[call-overload]

    def run(self, level: int, plan: LevelPlan, width: int, read: Read) -> Iterator[tuple[Span, Tensor]]:
        """See `Backend.run`."""
        halo = self.geometry[level].halo
        for start in range(0, plan.covered[0], plan.rows):
            seen = Span(start - halo, start + plan.rows + halo).clipped(plan.frame[0])
            x = read(seen).to(self.compute_dtype).contiguous(memory_format=torch.channels_last)
            with convolution_arithmetic(self.device):
                logits = self._levels[level](x)
            rows = Span(start, start + plan.rows).clipped(plan.covered[0])
            yield rows, logits[:, :, rows.within(seen)]


def folded(model: Network) -> Network:
    """A copy in eval mode, without gradients, in which each batch norm that follows a convolution is part of it."""
    dtype = next(model.parameters()).dtype
    model = copy.deepcopy(model).eval().requires_grad_(False).double()  # folded in float64: one rounding, not three
    for sequence in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index], sequence[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return model.to(dtype)


Factory = Callable[[Network, str, Path | None], Backend | str]
"""Makes a backend of a network, a precision and the network's checkpoint, or says in a sentence why it cannot."""

BACKENDS: Final[list[tuple[str, Factory]]] = []
"""Names and factories, the fastest first; a name may stand for several, of which the first that can is taken."""


def register(name: str, factory: Factory) -> None:
    """Adds a backend that is faster than those before it."""
    BACKENDS.insert(0, (name, factory))


def _halo_backend(model: Network, precision: str, checkpoint: Path | None) -> Backend | str:
    if precision == "int8":
        return "int8 is OpenVINO's: leave --backend away"
    return HaloBackend(model, precision)


register("torch", _halo_backend)


def open_backend(
    model: Network, backend: str = "auto", precision: str = "auto", checkpoint: Path | None = None
) -> Backend:
    """Chooses and prepares a backend.

    Args:
        model: with one input channel, float32 or float64, on any device.
        backend: as in `AnnotationOptions`.
        precision: as in `AnnotationOptions`.
        checkpoint: the network's file, beside which int8 graphs may lie.

    Raises:
        InputError: for an unknown name, or a backend that is not installed or cannot run the network.
    """
    names = "auto", *dict.fromkeys(name for name, _ in reversed(BACKENDS))
    for value, kind, allowed in ((backend, "backend", names), (precision, "precision", PRECISIONS)):
        if value not in allowed:
            raise InputError(f"{kind} is {value!r}; expected one of {', '.join(allowed)}")
    parameter = next(model.parameters())
    resolved = _resolve_precision(precision, parameter.device, parameter.dtype)
    refusals: list[str] = []
    for name, factory in BACKENDS:
        if backend in ("auto", name):
            made = factory(model, resolved, checkpoint)
            if isinstance(made, Backend):
                return made
            refusals.append(made)
    raise InputError(refusals[0])


def has_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself, rather than through float32 at a loss of time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(found.get("avx512_bf16") or found.get("amx_tile"))


def convolution_arithmetic(device: torch.device) -> AbstractContextManager[object]:
    """Within it convolutions compute in the dtype that they say: cuDNN's float32 is TF32 unless it is switched off."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device.type == "cuda" else nullcontext()


def _resolve_precision(precision: str, device: torch.device, dtype: torch.dtype) -> str:
    full = "fp64" if dtype == torch.float64 else "fp32"
    if precision == "auto":
        return "bf16" if full == "fp32" and has_bf16(device) else full
    if precision == "bf16" and not has_bf16(device):
        warnings.warn(
            f"this processor ({device.type}) has no bfloat16 arithmetic: bf16 works and is slower than fp32",
            RuntimeWarning,
            stacklevel=3,
        )
    return full if precision == "fp32" else precision


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
