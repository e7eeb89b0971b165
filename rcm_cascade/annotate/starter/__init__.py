"""The model that comes with the package: to see what the software does before one has a model of one's own."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from rcm_cascade.errors import InputError

STARTER: Final = "starter"
"""Its name, where a checkpoint may be given: ``init=starter``."""

WHAT_IT_IS: Final = "trained on synthetic mosaics; shows the software, reads no tissue"


def starter_path() -> Path:
    """The file, beside its card ``README.md``, in the installed package.

    Raises:
        InputError: if the package was installed without it.
    """
    path = Path(str(files(__name__))) / "starter.safetensors"
    if not path.is_file():
        raise InputError(
            f"the starter model {path} is missing from this installation; install rcm-cascade again, or give a "
            "checkpoint of your own"
        )
    return path
