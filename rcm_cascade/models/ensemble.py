"""The cascade's U-Nets without the cascade: one a resolution, trained apart, their probabilities averaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rcm_cascade.models.cascade import CascadedUNet, LevelArguments, upsample
from rcm_cascade.models.registry import register


@register
@dataclass(frozen=True, kw_only=True)
class EnsembleArguments(LevelArguments):
    """The arguments of a `UNetEnsemble`: those of a cascade without a prior."""

    design = "ensemble"
    trained_apart = True

    def build(self) -> "UNetEnsemble":
        """See `Arguments.build`."""
        return UNetEnsemble(self)


class UNetEnsemble(CascadedUNet):
    """U-Nets that see the image alone, each at its resolution; the final map is the log of their mean probabilities."""

    def final(self, outputs: Sequence[Tensor]) -> Tensor:
        """See `Network.final`: the log of the levels' mean probabilities."""
        total = outputs[0].softmax(dim=1)
        for logits in outputs[1:]:
            total = logits.softmax(dim=1) + upsample(total)
        return self._log_mean(total)

    def handed_on(self, logits: Tensor, coarser: Callable[[], Tensor | None]) -> Tensor:
        """See `Network.handed_on`: the sum of the probabilities so far."""
        before = coarser()
        return logits.softmax(dim=1) if before is None else logits.softmax(dim=1) + before

    def merged(self, logits: Tensor, coarser: Callable[[], Tensor | None]) -> Tensor:
        """See `Network.merged`: the log of the levels' mean probabilities."""
        return self._log_mean(self.handed_on(logits, coarser))

    def _log_mean(self, total: Tensor) -> Tensor:
        return (total / len(self.levels)).clamp(min=torch.finfo(total.dtype).tiny).log()
