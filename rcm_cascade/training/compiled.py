"""The network's forward and backward pass in training, compiled by `torch.compile`."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rcm_cascade.compat import compile_error
from rcm_cascade.errors import InputError, reason
from rcm_cascade.models import Network


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
        except compile_error() as error:
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
