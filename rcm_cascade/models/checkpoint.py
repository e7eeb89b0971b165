"""What a checkpoint says beside its weights: all that annotation needs, in plain types."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from rcm_cascade import __version__
from rcm_cascade.data.intensity import Normalisation
from rcm_cascade.data.manifest import SplitName
from rcm_cascade.errors import InputError
from rcm_cascade.labels import ClassTable
from rcm_cascade.models.cascade import CascadeArguments, CascadedUNet

HEADER: Final = "rcm_cascade"
NETWORK_PREFIX: Final = "network."
FORMAT: Final = 1


@dataclass(frozen=True)
class CheckpointHeader:
    """The part of a checkpoint under the key ``rcm_cascade``.

    Args:
        model: arguments of the `CascadedUNet`.
        classes: the class table it was trained with.
        working_pixel_size_um: µm per pixel at which the network works; None: each mosaic's own grid.
        normalisation: how grey levels become network input.
        dataset: name of the training data set.
        dataset_id: identity of the training data set (content hash of its manifest and class table).
        split: ``{mosaic: "train" | "val" | "test"}`` of that data set, by the manifest's ``mosaic`` column.
        synthetic: trained on phantoms; every output says so.
        version: of rcm_cascade that wrote it.
    """

    model: CascadeArguments
    classes: ClassTable
    working_pixel_size_um: float | None
    normalisation: Normalisation = "mosaic"
    dataset: str = ""
    dataset_id: str = ""
    split: Mapping[str, SplitName] = field(default_factory=dict)
    synthetic: bool = False
    version: str = __version__

    def to_plain(self) -> dict[str, Any]:
        """Plain types only, so that ``torch.load(weights_only=True)`` reads it."""
        return {
            "format": FORMAT,
            "version": self.version,
            "model": self.model.to_plain(),
            "classes": self.classes.to_plain(),
            "working_pixel_size_um": self.working_pixel_size_um,
            "normalisation": self.normalisation,
            "dataset": self.dataset,
            "dataset_id": self.dataset_id,
            "split": dict(self.split),
            "synthetic": self.synthetic,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "CheckpointHeader":
        """The inverse of `to_plain`."""
        rest = {k: v for k, v in plain.items() if k not in ("format", "model", "classes")}
        return cls(model=CascadeArguments(**plain["model"]), classes=ClassTable.from_plain(plain["classes"]), **rest)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A network in eval mode, on the CPU, float32, and the header it came with."""

    network: CascadedUNet
    header: CheckpointHeader
    path: Path


def load_checkpoint(path: str | Path) -> LoadedCheckpoint:
    """Reads a checkpoint that `rcm-cascade train` wrote. Nothing in the file is executed.

    Raises:
        InputError: if the file is missing, unreadable, of another program, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"checkpoint {path} does not exist; give a .ckpt file, such as runs/<run>/checkpoints/best.ckpt"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise InputError(
            f"checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or no checkpoint: "
            "give a .ckpt file that `rcm-cascade train` wrote"
        ) from error
    if not isinstance(content, dict) or HEADER not in content or "state_dict" not in content:
        raise InputError(
            f"checkpoint {path} is not one of rcm-cascade; give a .ckpt file that `rcm-cascade train` wrote"
        )
    if content[HEADER].get("format") != FORMAT:
        raise InputError(
            f"checkpoint {path} has format {content[HEADER].get('format')}, this version reads {FORMAT}; "
            "install the version of rcm-cascade that wrote it"
        )
    try:
        header = CheckpointHeader.from_plain(content[HEADER])
        network = CascadedUNet(**header.model.to_plain())
        weights = {k.removeprefix(NETWORK_PREFIX): v for k, v in content["state_dict"].items()}
        network.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"checkpoint {path} contradicts itself ({str(error).splitlines()[0]}); train again or use another"
        ) from error
    return LoadedCheckpoint(network.eval(), header, path)
