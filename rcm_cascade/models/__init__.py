"""Networks: pure `torch.nn.Module`, no Lightning."""

from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet, LevelGeometry, Prior
from rcm_cascade.models.designs import Network, build_network
from rcm_cascade.models.unet import BConv, UNet, unet_reach

__all__ = [
    "BConv",
    "CascadeArguments",
    "CascadedUNet",
    "LevelGeometry",
    "Network",
    "Prior",
    "UNet",
    "build_network",
    "unet_reach",
]
