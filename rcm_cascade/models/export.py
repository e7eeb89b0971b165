"""A checkpoint without what training alone needs: as a .safetensors file that other programs read too."""

from pathlib import Path

from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import digest, load_checkpoint
from rcm_cascade.models.safetensors_file import SUFFIX, Content, is_safetensors, write_safetensors


def export_checkpoint(checkpoint: Path, out: Path, commit: str = "") -> None:
    """Writes a checkpoint's weights, float32 as validated (averaged where `optim.ema` is on), and its header.

    Args:
        checkpoint: a .ckpt file.
        out: a .safetensors file; replaced whole or not at all.
        commit: of the code that trained it; empty: not known.

    Raises:
        InputError: if the checkpoint cannot be used, or ``out`` is of another name or cannot be written.
    """
    if not is_safetensors(out):
        raise InputError(f"{out} would not be told to be an export; choose a name that ends in {SUFFIX}")
    loaded = load_checkpoint(checkpoint)
    origin = {"commit": commit, "checkpoint_sha256": digest(loaded.path)}
    write_safetensors(out, Content(loaded.header.to_plain(), loaded.network.state_dict(), origin))
