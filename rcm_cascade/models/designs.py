"""From arguments to a network: the designs that can be trained, annotate and be compared."""

from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet
from rcm_cascade.models.dynunet import DynUNetPeer

Network = CascadedUNet | DynUNetPeer
"""One of the designs."""


def build_network(arguments: CascadeArguments) -> Network:
    """The network that arguments describe, with fresh weights.

    Raises:
        InputError: if it needs a package that is not installed.
    """
    if arguments.network == "dynunet":
        return DynUNetPeer(arguments)
    plain = arguments.to_plain()
    plain.pop("network")
    return CascadedUNet(**plain)
