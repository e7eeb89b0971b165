"""Levels run by PyTorch, on the network's own device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from rcm_cascade.annotate.backends import Backend
from rcm_cascade.annotate.streaming import StripDecoder, StripEncoder, StripRunner
from rcm_cascade.models import CascadedUNet


class TorchBackend(Backend):
    """PyTorch: channels-last, batch norm folded into the convolutions, of a copy."""

    name = "torch"

    @property
    def compute_dtype(self) -> torch.dtype:
        """See `Backend.compute_dtype`."""
        return self.prior_dtype

    def _prepared(self, network: CascadedUNet) -> CascadedUNet:
        return network.to(self.compute_dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _runner(self, level: int, width: int) -> StripRunner:
        return _TorchRunner(self._encoders[level], self._decoders[level], self.device)


class _TorchRunner(StripRunner):
    def __init__(self, encoder: StripEncoder, decoder: StripDecoder, device: torch.device) -> None:
        self._encoder, self._decoder, self._device = encoder, decoder, device

    def encode(
        self, x: Tensor, kept: Sequence[Tensor], masks: Sequence[Tensor], skips: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        with self._arithmetic():
            deepest, *rest = self._encoder(x.contiguous(memory_format=torch.channels_last), *kept, *masks)
        for place, skip in zip(skips, rest, strict=False):
            place.copy_(skip)
        return deepest, rest[len(skips) :]

    def decode(
        self, x: Tensor, skips: Sequence[Tensor], kept: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        with self._arithmetic():
            logits, *rest = self._decoder(x, *skips, *kept, *masks)
        return logits, rest

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._device.type == "cuda":
            # cuDNN convolves float32 in TF32 unless told otherwise; that is no fp32, and strips would not equal whole.
            return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return nullcontext()
