"""Levels run by PyTorch, on the network's own device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rcm_cascade.annotate.backends import StripBackend, convolution_arithmetic
from rcm_cascade.annotate.cpu.streaming import StripDecoder, StripEncoder, StripRunner
from rcm_cascade.models import CascadedUNet


class TorchBackend(StripBackend):
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
        with convolution_arithmetic(self._device):
            deepest, *rest = self._encoder(x.contiguous(memory_format=torch.channels_last), *kept, *masks)
        for place, skip in zip(skips, rest, strict=False):
            place.copy_(skip)
        return deepest, rest[len(skips) :]

    def decode(
        self, x: Tensor, skips: Sequence[Tensor], kept: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        with convolution_arithmetic(self._device):
            logits, *rest = self._decoder(x, *skips, *kept, *masks)
        return logits, rest
