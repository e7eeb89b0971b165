"""Levels of any network, in strips that are read with a halo: exact, and dearer than strips that keep their rows."""

import copy

import torch
from torch import Tensor, nn

from rcm_cascade.annotate.backends import Backend, convolution_arithmetic
from rcm_cascade.models import Network


class HaloBackend(Backend):
    """PyTorch, for networks that cannot be run convolution by convolution: each strip is computed with its halo.

    Args:
        model: as for `Backend`; batch norm only, or the strips' statistics would not be the whole's.
        precision: as for `Backend`.
    """

    name = "torch"

    def __init__(self, model: Network, precision: str) -> None:
        super().__init__(model, precision)
        twin = copy.deepcopy(model).eval().requires_grad_(False)
        self._levels = twin.to(self.compute_dtype, memory_format=torch.channels_last).levels  # type: ignore[call-overload]

    @property
    def compute_dtype(self) -> torch.dtype:
        """See `Backend.compute_dtype`."""
        return self.prior_dtype

    def delay(self, level: int) -> int:
        """See `Backend.delay`: the halo."""
        return self.geometry[level].halo

    def stream(self, level: int, width: int, height: int, rows: int) -> "HaloStream":
        """See `Backend.stream`."""
        return HaloStream(
            self._levels[level],
            classes=self.arguments.num_classes,
            halo=self.delay(level),
            height=height,
            dtype=self.compute_dtype,
        )


class HaloStream:
    """One level's network on a band of columns, fed strip by strip; it keeps rows of its input, and no features.

    Args:
        network: ``(1, C_in, H, W)`` to ``(1, classes, H, W)``.
        classes: channels of what comes out.
        halo: rows that it reaches, a multiple of its alignment.
        height: of the padded mosaic in px of the level.
        dtype: that the network computes in.
    """

    def __init__(self, network: nn.Module, *, classes: int, halo: int, height: int, dtype: torch.dtype) -> None:
        self.delay = halo
        self._network, self._classes, self._height, self._dtype = network, classes, height, dtype
        self._kept: Tensor | None = None
        self._fed = 0

    def feed(self, x: Tensor) -> Tensor:
        """Logits of a strip that lies `delay` rows above the one given; as `LevelStream.feed`."""
        rows = x.shape[2]
        x = x.to(self._dtype)
        seen = x if self._kept is None else torch.cat([self._kept, x], dim=2)
        self._fed += rows
        first = self._fed - seen.shape[2]  # the mosaic's row that is the first of those seen
        above, below = self._fed - rows - self.delay, self._fed - self.delay
        start, stop = max(above, 0), min(below, self._height)
        self._kept = seen[:, :, max(0, seen.shape[2] - 2 * self.delay) :]
        logits = torch.zeros((1, self._classes, rows, x.shape[3]), dtype=self._dtype, device=x.device)
        if start < stop:
            top, bottom = max(start - self.delay, 0), min(stop + self.delay, self._height)
            window = seen[:, :, top - first : bottom - first].contiguous(memory_format=torch.channels_last)
            with convolution_arithmetic(x.device):
                whole = self._network(window)
            logits[:, :, start - above : stop - above] = whole[:, :, start - top : stop - top]
        return logits
