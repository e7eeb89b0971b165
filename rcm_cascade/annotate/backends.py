"""What runs a level's network on strips, and in which precision."""

import copy
import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Final, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rcm_cascade.annotate.cpu.streaming import LevelStream, StripDecoder, StripEncoder, StripRunner
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet, Network
from rcm_cascade.models.unet import UNet

Precision = Literal["auto", "fp32", "bf16"]
"""``fp32``: the network's own dtype; ``bf16``: bfloat16; ``auto``: ``bf16`` where the processor computes in it, else
``fp32``."""

BackendName = Literal["auto", "torch", "openvino"]
"""``auto``: OpenVINO for float32 networks on a CPU where it is installed, else PyTorch."""

OWN_DTYPES: Final[Mapping[torch.dtype, str]] = {torch.float32: "fp32", torch.float64: "fp64"}


class Stream(Protocol):
    """One level's network on a band of columns, fed strip by strip from the top."""

    @property
    def delay(self) -> int:
        """By how many rows what comes out lags behind what is fed."""

    def feed(self, x: Tensor) -> Tensor:
        """Logits of a strip that lies `delay` rows above the one given; see `LevelStream.feed`."""


class Backend(ABC):
    """A network, ready to run level by level. Weights are those of the moment when it was made.

    Args:
        model: left as it is, in training or eval mode.
        precision: ``fp32``, ``fp64`` or ``bf16``; the last works on any processor.
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

    @property
    def prior_dtype(self) -> torch.dtype:
        """In what a whole level's prior is kept."""
        return torch.bfloat16 if self.precision == "bf16" else self.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """Of what goes into a level's network and comes out."""
        return self.dtype

    @abstractmethod
    def delay(self, level: int) -> int:
        """By how many px of a level, 0 being the coarsest, what comes out lags behind what is fed."""

    @abstractmethod
    def stream(self, level: int, width: int, height: int, rows: int) -> Stream:
        """Begins a band of a level at its top.

        Args:
            level: 0 is the coarsest.
            width: of the band in px of the level, a multiple of its alignment.
            height: of the padded mosaic in px of the level.
            rows: of the highest strip, a multiple of the alignment.
        """


class StripBackend(Backend):
    """A cascade of U-Nets whose convolutions keep their last rows, so that nothing is computed twice.

    Args:
        model: as for `Backend`.
        precision: as for `Backend`.
    """

    def __init__(self, model: CascadedUNet, precision: str) -> None:
        super().__init__(model, precision)
        self._encoders: list[StripEncoder] = []
        self._decoders: list[StripDecoder] = []
        for level in self._prepared(folded(model)).levels:
            assert isinstance(level, UNet)
            self._encoders.append(StripEncoder(level))
            self._decoders.append(StripDecoder(level, self._encoders[-1]))

    def delay(self, level: int) -> int:
        """See `Backend.delay`."""
        return self._decoders[level].delay

    def stream(self, level: int, width: int, height: int, rows: int) -> LevelStream:
        """See `Backend.stream`."""
        return LevelStream(
            self._encoders[level],
            self._decoders[level],
            self._runner(level, width),
            width=width,
            height=height,
            rows=rows,
            dtype=self.compute_dtype,
            device=self.device,
        )

    def _prepared(self, network: CascadedUNet) -> CascadedUNet:
        return network

    @abstractmethod
    def _runner(self, level: int, width: int) -> StripRunner:
        """What computes strips of one level and width."""


def open_backend(model: Network, backend: str = "auto", precision: str = "auto") -> Backend:
    """Chooses and prepares a backend.

    Args:
        model: with one input channel, float32 or float64, on any device.
        backend: one of `BackendName`.
        precision: one of `Precision`.

    Raises:
        InputError: for an unknown name, or OpenVINO where it is not installed or cannot run the network.
        ValueError: for another dtype or number of channels, or bf16 of a float64 network.
    """
    for value, kind, allowed in ((backend, "backend", BackendName), (precision, "precision", Precision)):
        if value not in get_args(allowed):
            raise InputError(f"{kind} is {value!r}; expected one of {', '.join(get_args(allowed))}")
    if model.arguments.in_channels != 1:
        raise ValueError(f"the network has {model.arguments.in_channels} input channels; mosaics are grey and have 1")
    parameter = next(model.parameters())
    resolved = _resolve_precision(precision, parameter.device, parameter.dtype)
    suits = parameter.device.type == "cpu" and parameter.dtype == torch.float32
    if backend == "openvino" and not suits:
        raise InputError(
            f"backend is 'openvino' and the network is {parameter.dtype} on {parameter.device}; OpenVINO runs float32 "
            "networks on the CPU: choose --backend torch"
        )
    if not isinstance(model, CascadedUNet):
        if backend == "openvino":
            raise InputError(
                "backend is 'openvino', which runs cascades of U-Nets; choose --backend torch for a DynUNet"
            )
        from rcm_cascade.annotate.halo_backend import HaloBackend

        return HaloBackend(model, resolved)
    if backend == "openvino" and not has_openvino():
        raise InputError("backend is 'openvino', which is not installed: pip install 'rcm-cascade[openvino]'")
    if backend == "openvino" or (backend == "auto" and suits and has_openvino()):
        from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(model, resolved)
    from rcm_cascade.annotate.torch_backend import TorchBackend

    return TorchBackend(model, resolved)


def has_openvino() -> bool:
    """Whether the extra ``[openvino]`` is installed."""
    return importlib.util.find_spec("openvino") is not None


def has_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself, rather than through float32 at a loss of time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def convolution_arithmetic(device: torch.device) -> AbstractContextManager[object]:
    """Within it convolutions compute in the dtype that they say: cuDNN's float32 is TF32 unless told otherwise."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if device.type == "cuda" else nullcontext()


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
