"""The metrics: whatever is in `METRICS` appears in metrics.json, every table, page, plot and `report --metric`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.evaluate.confusion import dice, macro_mean, sensitivity, specificity

Numbers = Callable[[NDArray[Any]], NDArray[np.float64]]
"""From sums ``(…, *shape)`` to the numbers that derive from them, ``(…, K)``; NaN where undefined."""


@dataclass(frozen=True)
class Metric:
    """A number of each class that derives from a confusion matrix.

    Args:
        name: its key in files, such as ``"dice"``.
        label: as people read it, such as ``"Dice"``.
        of_classes: matrices ``(…, C, C)``, rows = truth, to ``(…, C)``; NaN where undefined.
    """

    name: str
    label: str
    of_classes: Numbers

    def with_mean(self, matrices: NDArray[Any]) -> NDArray[np.float64]:
        """Of each class, then the macro mean over the classes present in the truth: ``(…, C, C)`` to ``(…, C + 1)``."""
        values = self.of_classes(matrices)
        return np.concatenate([values, macro_mean(values, matrices)[..., np.newaxis]], axis=-1)


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("sensitivity", "sensitivity", sensitivity),
        Metric("specificity", "specificity", specificity),
        Metric("dice", "Dice", dice),
    )
}
"""By name, in the order shown. A new metric is one more entry."""
