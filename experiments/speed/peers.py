"""What annotation is measured against: the bare network, and the sliding window that users would take otherwise."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate.backends import convolution_arithmetic
from rcm_cascade.models import Network

ROI: Final = 512
BATCHES: Final = {"cpu": 4, "cuda": 16}
"""Windows at once, by device."""

Predictor = Callable[[Tensor], Tensor]
"""Normalised images ``(B, 1, H, W)`` to the finest level's logits ``(B, C, H, W)``."""


def torch_predictor(model: Network, precision: str) -> Predictor:
    """The unmodified network, channels-last, under autocast for bf16; float32 is float32, on a GPU too, as ours is."""
    device = next(model.parameters()).device
    network = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(x: Tensor) -> Tensor:
        bf16 = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        with torch.inference_mode(), bf16, convolution_arithmetic(device):
            logits: Tensor = network.predict(x.to(device).contiguous(memory_format=torch.channels_last))
            return logits.float()

    return predict


def plain_predictor(model: Network) -> Predictor:
    """The unmodified network as it comes: float32, in TF32 where PyTorch does that; channels first."""
    network = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def predict(x: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network.predict(x)
            return logits

    return predict


class Finest(torch.nn.Module):
    """A network that gives the logits of its finest level alone."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(model).eval()

    def forward(self, x: Tensor) -> Tensor:
        """See `Network.predict`."""
        logits: Tensor = self.network.predict(x)
        return logits


def openvino_request(module: torch.nn.Module, precision: str, shape: Sequence[int]) -> Any:  # noqa: ANN401  # not typed
    """A module as OpenVINO converts it, compiled for inputs of one shape."""
    import openvino as ov

    from rcm_cascade.annotate.cpu.openvino_backend import HINTS, core

    with warnings.catch_warnings():
        # OpenVINO traces, which torch deprecates; what a trace makes constant is the shape, which is.
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Traced here, because OpenVINO would have the trace checked, which runs the network several times more.
        trace: Any = torch.jit.trace  # not typed
        traced = trace(module.eval(), torch.zeros(*shape), check_trace=False)
        graph = ov.convert_model(traced, example_input=torch.zeros(*shape), input=[list(shape)])
    options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    return core().compile_model(graph, "CPU", options).create_infer_request()


def openvino_predictor(model: Network, precision: str, shape: tuple[int, int, int, int]) -> Predictor:
    """The unmodified network as OpenVINO converts it, for inputs of one shape; smaller batches are filled up."""
    request = openvino_request(Finest(model), precision, shape)

    def predict(x: Tensor) -> Tensor:
        full = torch.cat([x, x.new_zeros(shape[0] - len(x), *x.shape[1:])])
        request.infer([full.contiguous().numpy()], share_inputs=True)
        return torch.from_numpy(np.array(request.get_output_tensor(0).data[: len(x)]))

    return predict


def windows_at_once(device: torch.device) -> int:
    """Windows that a device is given together."""
    return BATCHES.get(device.type, BATCHES["cpu"])


def sliding_window(image: Tensor, predict: Predictor, overlap: float, mode: str) -> NDArray[np.uint8]:
    """MONAI's sliding window over a whole image.

    Args:
        image: normalised, ``(1, 1, H, W)`` float32.
        predict: for windows of 512 px.
        overlap: of neighbouring windows.
        mode: ``gaussian`` or ``constant``: how they are blended.

    Returns:
        Class ids ``(H, W)`` uint8.
    """
    with torch.inference_mode():
        logits: Any = sliding_window_inference(
            image, ROI, windows_at_once(image.device), predict, overlap=overlap, mode=mode
        )
    labels: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
    return labels
