"""The model that comes with the package: to see what the software does before one has a model of one's own."""

from pathlib import Path
from typing import Final

STARTER: Final = "starter"
"""Its name, where a checkpoint may be given: ``init=starter``."""

WHAT_IT_IS: Final = "trained on synthetic mosaics; shows the software, reads no tissue"


def starter_path() -> Path:
    """The file, beside its card ``README.md``."""
    return Path(__file__).with_name("starter.safetensors")
