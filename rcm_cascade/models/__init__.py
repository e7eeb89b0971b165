"""Networks: pure `torch.nn.Module`, no Lightning."""

from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet, LevelGeometry, Prior
from rcm_cascade.models.unet import BConv, UNet, unet_reach

__all__ = ["BConv", "CascadeArguments", "CascadedUNet", "LevelGeometry", "Prior", "UNet", "unet_reach"]
