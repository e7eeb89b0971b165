"""A network as a .safetensors file: tensors, its header as JSON, and nothing that could be executed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rcm_cascade.errors import InputError
from rcm_cascade.files import written_whole

SUFFIX: Final = ".safetensors"

KEY: Final = "rcm_cascade"
"""Of the file's metadata, whose values are strings: ours is JSON."""


class Content(NamedTuple):
    """What a file holds; nothing of it has been checked but that it is there.

    Args:
        header: as a checkpoint has it under ``rcm_cascade``; plain types.
        weights: by their names in the network; on the CPU.
        origin: where it came from: ``commit`` and ``checkpoint_sha256``, where known.
    """

    header: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    origin: Mapping[str, Any]


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of these, by its name."""
    return path.suffix.lower() == SUFFIX


def write_safetensors(path: Path, content: Content) -> None:
    """Writes a file, whole or not at all. The same content makes the same bytes.

    Raises:
        InputError: if it cannot be written.
    """
    told = json.dumps({"header": content.header, "origin": content.origin}, ensure_ascii=False, allow_nan=False)
    tensors = {name: tensor.contiguous() for name, tensor in content.weights.items()}
    try:
        with written_whole(path) as temporary:
            # One key: the order of several is not ours. By save_file nobody else might read the file.
            temporary.write_bytes(save(tensors, metadata={KEY: told}))
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be written ({error}); make room on the disk, or choose a folder that may be written"
        ) from error


def read_safetensors(path: Path) -> Content:
    """Reads a file. The library checks sizes and offsets before it reads a tensor; nothing in the file is executed.

    Raises:
        InputError: if the file is unreadable, damaged, or of another program.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            told = (file.metadata() or {}).get(KEY)
            names = file.keys()
            weights = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}); it is damaged or no {SUFFIX} file: "
            "copy or export it again"
        ) from error
    foreign = InputError(
        f"checkpoint {path} is not one of rcm-cascade: its metadata has no {KEY} that says which network it is; give a "
        "file that rcm-cascade exported, or the .ckpt file that `rcm-cascade train` wrote"
    )
    if told is None:
        raise foreign
    try:
        content = json.loads(told)
        header, origin = content["header"], content.get("origin", {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise foreign from error
    if not isinstance(header, dict) or not isinstance(origin, dict):
        raise foreign
    return Content(header, weights, origin)
