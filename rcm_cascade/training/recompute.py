"""Less memory for more time: activations within a block are computed again on the way back rather than kept."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rcm_cascade.errors import InputError
from rcm_cascade.models import Network, UNet


def recompute_activations(network: Network) -> None:
    """Makes the blocks of every U-Net keep their input only (Chen et al. 2016, arXiv 1604.06174), while they learn.

    Gradients, weights and the batch norms' running means and variances are those of keeping everything.

    Raises:
        InputError: if it has no U-Nets.
    """
    unets = [part for part in network.modules() if isinstance(part, UNet)]
    if not unets:
        raise InputError("trainer.recompute=true is for U-Nets, and this network has none; leave it false")
    for unet in unets:
        unet.run_block = _run


def _run(block: nn.Module, x: Tensor) -> Tensor:
    # Nothing in a block is drawn at random, so no generator's state need be kept.
    result: Tensor = checkpoint(
        block, x, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), _held(block))
    )
    return result


@contextmanager
def _held(block: nn.Module) -> Iterator[None]:
    """The second time, batch norms leave their running means and variances alone: they have seen the batch."""
    norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d | nn.SyncBatchNorm) and part.training]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, count in before:
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
