"""A checkpoint without what training alone needs: as a .safetensors file that other programs read too."""

from pathlib import Path

import torch

from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import digest, load_checkpoint
from rcm_cascade.models.safetensors_file import SUFFIX, Content, is_safetensors, write_safetensors


def export_checkpoint(checkpoint: Path, out: Path, commit: str = "", dtype: torch.dtype = torch.float32) -> None:
    """Writes a checkpoint's weights, as validated (averaged where `optim.ema` is on), and its header.

    Args:
        checkpoint: a .ckpt file.
        out: a .safetensors file; replaced whole or not at all.
        commit: of the code that trained it; empty: not known.
        dtype: of the weights in the file, bfloat16 for half its size; a network that reads it is in float32 anyway.

    Raises:
        InputError: if the checkpoint cannot be used, or ``out`` is of another name or cannot be written.
    """
    if not is_safetensors(out):
        raise InputError(f"{out} would not be told to be an export; choose a name that ends in {SUFFIX}")
    loaded = load_checkpoint(checkpoint)
    origin = {"commit": commit, "checkpoint_sha256": digest(loaded.path)}
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in loaded.network.state_dict().items()}
    write_safetensors(out, Content(loaded.header.to_plain(), weights, origin))
