"""`rcm-cascade evaluate`: a checkpoint against a data set's label maps."""

from pathlib import Path
from typing import Any

from rcm_cascade.commands.datasets import TrainingData, make_cache, need
from rcm_cascade.commands.report import write_run_page
from rcm_cascade.commands.score import score
from rcm_cascade.data.manifest import SplitName, read_dataset
from rcm_cascade.data.splits import make_split
from rcm_cascade.errors import InputError
from rcm_cascade.labels import ClassTable
from rcm_cascade.models.checkpoint import load_checkpoint
from rcm_cascade.runs import RunFolder


def evaluate(
    checkpoint: Path, root: Path, part: SplitName, out: Path | None, split_file: Path | None = None
) -> tuple[dict[str, Any], ClassTable, Path]:
    """Scores a checkpoint on a part of a data set.

    The checkpoint's own split counts for the data set that it was trained on, the manifest's for any other;
    ``split_file`` overrides both.

    Args:
        checkpoint: a .ckpt file.
        root: dataset folder.
        part: ``train``, ``val`` or ``test``.
        out: where to write; None: ``evaluation/`` in the checkpoint's run folder, whose report.html is renewed.
        split_file: CSV ``mosaic,split``.

    Returns:
        The content of metrics.json, the class table, and the folder written.

    Raises:
        InputError: if checkpoint, data or split is wrong.
    """
    header = load_checkpoint(checkpoint).header
    dataset = read_dataset(root)
    if split_file is None and dataset.id == header.dataset_id:
        split = header.split
    else:
        split = make_split(dataset, seed=0, split_file=split_file, training=False)
    loaded = TrainingData(dataset, split, header.working_pixel_size_um, make_cache(None, 50))
    run = RunFolder(checkpoint.resolve().parent.parent)
    if out is None:
        if not run.config.is_file():
            raise InputError(f"checkpoint {checkpoint} lies in no run folder; say where to write with --out DIR")
        out = run.path / "evaluation"
    if not loaded.entries(part):
        need([], part, dataset)
    summary = score(checkpoint, loaded.open(part), out, dataset, part=part)
    if out == run.path / "evaluation":
        write_run_page(run)
    return summary, header.classes, out
