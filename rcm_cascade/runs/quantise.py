"""What int8 needs of a run: the mosaics that its checkpoint was trained and validated on."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import CheckpointHeader
from rcm_cascade.runs.data import TrainingData, cache_of_run, find_dataset
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import read_config

if TYPE_CHECKING:  # it needs OpenVINO, an extra
    from rcm_cascade.annotate.cpu.int8 import Int8Report


def quantise_checkpoint(checkpoint: Path, root: Path | None = None, accept_loss: bool = False) -> "Int8Report":
    """`prepare_int8` on the mosaics that a checkpoint was trained on.

    Args:
        checkpoint: a .ckpt file.
        root: as in `calibration_mosaics`.
        accept_loss: as in `prepare_int8`.

    Raises:
        InputError: if int8 cannot be had here, the data set is not found, or the agreement is too low.
    """
    annotator = Annotator.load(checkpoint, device="cpu")
    annotator.prepare(AnnotationOptions(precision="fp32", backend="openvino"))  # refuses what OpenVINO cannot run
    from rcm_cascade.annotate.cpu.int8 import prepare_int8

    return prepare_int8(annotator, partial(calibration_mosaics, annotator.header, checkpoint, root), accept_loss)


def calibration_mosaics(
    header: CheckpointHeader, checkpoint: Path, root: Path | None
) -> tuple[list[Mosaic], list[Mosaic]]:
    """A checkpoint's training and validation mosaics.

    Args:
        header: of the checkpoint.
        checkpoint: whose run folder's config.yaml names the data set, and the cache of its decoded mosaics.
        root: the data set; None: the one named there.

    Raises:
        InputError: if the data set is not found, or is another than the checkpoint was trained on.
    """
    run = RunFolder(checkpoint.resolve().parent.parent)
    if root is None and not run.config.is_file():
        raise InputError(
            f"checkpoint {checkpoint} lies in no run folder, so its training mosaics are not known; name their "
            "data set with --calibrate ROOT"
        )
    dataset = read_dataset(root or find_dataset(read_config(run.config).data))
    loaded = TrainingData(dataset, header.split, header.working_pixel_size_um, header.normalisation, cache_of_run(run))
    if loaded.recognised(header).mosaics_id != loaded.ids.mosaics:
        raise InputError(
            f"{dataset.root} is not the data set that {checkpoint} was trained on ({header.dataset}); name that with "
            "--calibrate ROOT"
        )
    return loaded.open("train"), loaded.open("val")
