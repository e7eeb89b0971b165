"""Networks: pure `torch.nn.Module`, no Lightning. Every module here is imported, so that a design's registers it."""

from importlib import import_module
from pkgutil import iter_modules

from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet
from rcm_cascade.models.registry import Arguments, Network
from rcm_cascade.models.unet import UNet

__all__ = ["Arguments", "CascadeArguments", "CascadedUNet", "Network", "UNet"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
