"""Networks: pure `torch.nn.Module`, no Lightning. Importing the designs' modules registers them."""

from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet, Prior
from rcm_cascade.models.dynunet import DynUNetArguments, DynUNetPeer
from rcm_cascade.models.ensemble import EnsembleArguments, UNetEnsemble
from rcm_cascade.models.registry import DESIGNS, Arguments, LevelGeometry, Network, build_network
from rcm_cascade.models.unet import BConv, UNet, unet_reach

__all__ = [
    "DESIGNS",
    "Arguments",
    "BConv",
    "CascadeArguments",
    "CascadedUNet",
    "DynUNetArguments",
    "DynUNetPeer",
    "EnsembleArguments",
    "LevelGeometry",
    "Network",
    "Prior",
    "UNet",
    "UNetEnsemble",
    "build_network",
    "unet_reach",
]
