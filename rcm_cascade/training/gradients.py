"""Norms of the gradient, stage by stage: where it vanishes, if it does."""

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

STAGE = re.compile(r"(encoder|decoder|up)\.(\d+)\.")


def stage_norms(level: nn.Module) -> dict[str, Tensor]:
    """Norm of the gradient with respect to the weights of each stage of a level's network.

    Args:
        level: a `UNet`: ``encoder1`` is its finest block, ``decoder1`` its deepest, with the up-sampling before it;
            then ``bottom`` and ``head``. Of other networks the stages are their children.

    Returns:
        Scalars, in the order of the weights; a stage without gradient has norm 0.
    """
    gradients: dict[str, list[Tensor]] = defaultdict(list)
    for name, parameter in level.named_parameters():
        kept = gradients[stage_of(name)]
        if parameter.grad is not None:
            kept.append(parameter.grad)
    zero = next(level.parameters()).new_zeros(())
    return {stage: get_total_norm(kept) if kept else zero for stage, kept in gradients.items()}


def stage_of(parameter: str) -> str:
    """The stage that a level's parameter belongs to, by its name in the level."""
    found = STAGE.match(parameter)
    if found is None:
        return parameter.split(".")[0]
    kind = "encoder" if found[1] == "encoder" else "decoder"
    return f"{kind}{int(found[2]) + 1}"


class MeanNorms:
    """Means over an epoch of scalars that stay on the device: logging forty of them a step took a fifth of the step."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.steps: list[Tensor] = []

    def add(self, norms: Mapping[str, Tensor]) -> None:
        """Adds a step's norms, of the same names as before."""
        self.names = tuple(norms)
        self.steps.append(torch.stack(list(norms.values())))

    def take(self) -> dict[str, Tensor]:
        """Means over the steps since the last call; none if there were none."""
        steps, self.steps = self.steps, []
        if not steps:
            return {}
        return dict(zip(self.names, sum(steps[1:], steps[0]) / len(steps), strict=True))
