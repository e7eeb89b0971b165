"""Norms of the gradient, stage by stage: where it vanishes, if it does."""

import re
from collections import defaultdict

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
