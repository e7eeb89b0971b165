"""Strips that keep their rows, OpenVINO and int8: faster than `HaloBackend`, for networks that are made of U-Nets.

Made for processors without a GPU; where OpenVINO is not there, PyTorch runs the same strips, on a GPU too.
"""

import importlib.util
from pathlib import Path

import torch

from rcm_cascade.annotate.backends import Backend, register
from rcm_cascade.annotate.cpu.strips import TorchStripBackend
from rcm_cascade.models import Network
from rcm_cascade.models.unet import UNet


def has_openvino() -> bool:
    """Whether the extra ``[openvino]`` is installed."""
    return importlib.util.find_spec("openvino") is not None


def _torch_strips(model: Network, precision: str, checkpoint: Path | None) -> Backend | str:
    if precision == "int8" or not _made_of_unets(model):
        return "int8 is OpenVINO's, and for U-Nets: leave --backend or --precision away"
    return TorchStripBackend(model, precision)


def _openvino(model: Network, precision: str, checkpoint: Path | None) -> Backend | str:
    parameter = next(model.parameters())
    if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        return (
            f"the network is {parameter.dtype} on {parameter.device}; OpenVINO runs float32 networks on the CPU: "
            "choose --backend torch"
        )
    if not _made_of_unets(model):
        return "OpenVINO and int8 are for U-Nets, and the network is another: choose --backend torch, leave int8 away"
    if not has_openvino():
        return "OpenVINO, which int8 needs too, is not installed: pip install 'rcm-cascade[openvino]'"
    if precision == "int8":
        from rcm_cascade.annotate.cpu.int8 import open_int8

        return open_int8(model, checkpoint)
    from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(model, precision)


def _made_of_unets(model: Network) -> bool:
    return all(isinstance(level, UNet) for level in model.levels)


register("torch", _torch_strips)
register("openvino", _openvino)
