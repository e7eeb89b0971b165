"""How a run's checkpoints reach the disk."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from rcm_cascade.models.checkpoint import write_checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside the one before, which it then replaces.

    Lightning's own writes it into the system's temporary folder and moves it from there: on another disk that is a
    copy, so that a full disk, or a process that is killed meanwhile, destroys the checkpoint before, too.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Writes a checkpoint whole or not at all.

        Args:
            checkpoint: what `torch.save` takes.
            path: of the file.
            storage_options: Lightning's; there are none.

        Raises:
            InputError: if it cannot be written.
        """
        write_checkpoint(checkpoint, Path(path))
