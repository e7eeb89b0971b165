"""How a step goes through the network: compiled by `torch.compile`, or with less memory for more time."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rcm_cascade.errors import InputError, reason
from rcm_cascade.models import Network, UNet


def compiled_forward(network: Network) -> Callable[[Tensor], list[Tensor]]:
    """``network.forward``, compiled for batches of the first one's shape; others, an epoch's last, go uncompiled.

    The network itself stays as it is, so that validation, which takes regions of another size, is not compiled too.

    Args:
        network: of any design.

    Raises:
        InputError: by the first call, if it cannot be compiled here, as without a C++ compiler.
    """
    torch.compiler.reset()  # Dynamo compiles one function for eight networks and no more: a sweep has others
    with compiler_warnings():
        run: Callable[[Tensor], list[Tensor]] = torch.compile(network.forward, dynamic=False)
    compiled_for: torch.Size | None = None

    def forward(image: Tensor) -> list[Tensor]:
        nonlocal compiled_for
        if compiled_for is not None:
            return run(image) if image.shape == compiled_for else network.forward(image)
        compiled_for = image.shape
        try:
            with compiler_warnings():
                return run(image)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the base of what Dynamo and Inductor raise
            raise InputError(
                f"torch.compile cannot compile the network here ({type(error).__name__}: {reason(error):.200}); train "
                "with trainer.compile=false"
            ) from error

    return forward


@contextmanager
def compiler_warnings() -> Iterator[None]:
    """Its import uses what torch itself deprecates, and it advises TF32, which is another form."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
        warnings.filterwarnings("ignore", r".*TensorFloat32 tensor cores", UserWarning)
        yield


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
