"""Networks: pure `torch.nn.Module`, no Lightning. A design is known once its module is imported here."""

from rcm_cascade.models import cascade, dynunet, ensemble
from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet
from rcm_cascade.models.registry import Arguments, Network, build_network
from rcm_cascade.models.unet import UNet

__all__ = ["Arguments", "CascadeArguments", "CascadedUNet", "Network", "UNet", "build_network"]
__all__ += ["cascade", "dynunet", "ensemble"]
