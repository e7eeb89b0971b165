"""What runs a level's network on a tile, and in which precision."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet

Precision = Literal["auto", "fp32", "bf16"]
"""``fp32``: the network's own dtype, without autocast; ``bf16``: bfloat16 autocast; ``auto``: ``bf16`` where the
processor computes in it, else ``fp32``."""

BackendName = Literal["auto", "torch"]
"""``auto``: the fastest that is installed."""

OWN_DTYPES: Final[Mapping[torch.dtype, str]] = {torch.float32: "fp32", torch.float64: "fp64"}


class Backend(ABC):
    """A cascade, ready to run level by level. Weights are those of the moment when it was made.

    Args:
        model: left as it is, in training or eval mode.
        precision: ``fp32``, ``fp64`` or ``bf16``; the last works on any processor.
    """

    name: str

    def __init__(self, model: CascadedUNet, precision: str) -> None:
        parameter = next(model.parameters())
        self.geometry = model.geometry
        self.alignment = model.alignment
        self.device: torch.device = parameter.device
        self.dtype: torch.dtype = parameter.dtype
        self.precision = precision
        self.as_prior: Callable[[Tensor], Tensor] = model.as_prior

    @property
    def prior_dtype(self) -> torch.dtype:
        """In what a whole level's prior is kept."""
        return torch.bfloat16 if self.precision == "bf16" else self.dtype

    @abstractmethod
    def logits(self, level: int, x: Tensor) -> Tensor:
        """Logits ``(1, C, h, w)`` of one level, 0 being the coarsest, for its input ``(1, C_in, h, w)``; in `dtype`."""


class TorchBackend(Backend):
    """PyTorch on the model's own device: channels-last, batch norm folded into the convolutions, of a copy."""

    name = "torch"

    def __init__(self, model: CascadedUNet, precision: str) -> None:
        super().__init__(model, precision)
        self._levels = folded(model).levels.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def logits(self, level: int, x: Tensor) -> Tensor:
        """See `Backend.logits`."""
        with self._arithmetic():
            logits: Tensor = self._levels[level](x.contiguous(memory_format=torch.channels_last))
        return logits.to(self.dtype)

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        if self.device.type == "cuda":
            # cuDNN convolves float32 in TF32 unless told otherwise; that is no fp32, and tiled would not equal whole.
            return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return nullcontext()


BACKENDS: Final[Mapping[str, type[Backend]]] = {"torch": TorchBackend}


def open_backend(model: CascadedUNet, backend: str = "auto", precision: str = "auto") -> Backend:
    """Chooses and prepares a backend.

    Args:
        model: a cascade with one input channel, float32 or float64, on any device.
        backend: one of `BackendName`.
        precision: one of `Precision`.

    Raises:
        InputError: for an unknown name.
        ValueError: for another dtype or number of channels, or bf16 of a float64 network.
    """
    for value, kind, allowed in ((backend, "backend", BackendName), (precision, "precision", Precision)):
        if value not in get_args(allowed):
            raise InputError(f"{kind} is {value!r}; expected one of {', '.join(get_args(allowed))}")
    if model.arguments.in_channels != 1:
        raise ValueError(f"the network has {model.arguments.in_channels} input channels; mosaics are grey and have 1")
    parameter = next(model.parameters())
    chosen = BACKENDS["torch" if backend == "auto" else backend]
    return chosen(model, _resolve_precision(precision, parameter.device, parameter.dtype))


def has_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself, rather than through float32 at a loss of time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def folded(model: CascadedUNet) -> CascadedUNet:
    """A copy in eval mode, without gradients, in which each batch norm that follows a convolution is part of it."""
    dtype = next(model.parameters()).dtype
    model = copy.deepcopy(model).eval().requires_grad_(False).double()  # folded in float64: one rounding, not three
    for sequence in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index], sequence[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return model.to(dtype)


def _resolve_precision(precision: str, device: torch.device, dtype: torch.dtype) -> str:
    own = OWN_DTYPES.get(dtype)
    if own is None:
        raise ValueError(f"the network has dtype {dtype}; expected torch.float32 or torch.float64")
    if precision == "bf16" and own != "fp32":
        raise ValueError(f"precision is 'bf16' and the network has dtype {dtype}; expected torch.float32")
    if precision == "auto":
        return "bf16" if own == "fp32" and has_bf16(device) else own
    if precision == "bf16" and not has_bf16(device):
        warnings.warn(
            f"this processor ({device.type}) has no bfloat16 arithmetic: bf16 works and is slower than fp32",
            RuntimeWarning,
            stacklevel=3,
        )
    return "bf16" if precision == "bf16" else own
