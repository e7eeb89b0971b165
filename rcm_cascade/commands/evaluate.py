"""`rcm-cascade evaluate`: a checkpoint against a data set's label maps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.ids import legacy_id
from rcm_cascade.data.manifest import Dataset, SplitName, read_dataset
from rcm_cascade.data.splits import make_split
from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable
from rcm_cascade.models.checkpoint import CheckpointHeader, read_header
from rcm_cascade.report.run_page import write_run_page
from rcm_cascade.runs.data import TrainingData, make_cache, need
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.score import score


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
        out: where to write; None: ``evaluation/`` in the checkpoint's run folder, whose report.html is renewed. That
            folder is for `best.ckpt` of a finished run and its own test split.
        split_file: CSV ``mosaic,split``.

    Returns:
        The content of metrics.json, the class table, and the folder written.

    Raises:
        InputError: if checkpoint, data or split is wrong.
    """
    header = read_header(checkpoint)
    dataset = read_dataset(root)
    if split_file is None and legacy_id(dataset) == header.dataset_id:
        split = header.split
    else:
        split = make_split(dataset, seed=0, split_file=split_file, training=False)
        _refuse_trained_on(dataset, split, part, header)
    loaded = TrainingData(dataset, split, header.working_pixel_size_um, header.normalisation, make_cache(None, 50))
    if not loaded.entries(part):
        need([], part, dataset)
    run = RunFolder(checkpoint.resolve().parent.parent)
    own = run.path / "evaluation"
    if out is None and not run.config.is_file():
        raise InputError(f"checkpoint {checkpoint} lies in no run folder; say where to write with --out DIR")
    out = own if out is None else out
    renewed = run.config.is_file() and out.resolve() == own.resolve()
    if renewed:
        if checkpoint.resolve() != run.best.resolve() or not run.result.is_file():
            raise InputError(
                f"{own} is for {run.best} of the finished run, and {checkpoint} is "
                f"{'of an unfinished one' if not run.result.is_file() else 'another'}; say where to write this one "
                "with --out DIR"
            )
        if part != "test" or legacy_id(dataset) != header.dataset_id or split_file is not None:
            raise InputError(
                f"{own} is for the test split that the run was made with; say where to write this one with --out DIR"
            )
    refuse_unwritable(out)
    summary = score(checkpoint, loaded.open(part), out, dataset, part=part)
    if renewed:
        write_run_page(run, run.read_result())
    return summary, header.classes, out


def _refuse_trained_on(
    dataset: Dataset, split: Mapping[str, SplitName], part: SplitName, header: CheckpointHeader
) -> None:
    """Refuses to score, as held out, mosaics that the checkpoint was trained on: a manifest edited since, say."""
    if part == "train" or dataset.name != header.dataset:
        return
    seen = [m for m, where in split.items() if where == part and header.split.get(m) == "train"]
    if seen:
        raise InputError(
            f"{dataset.root / 'manifest.csv'} has changed since the checkpoint was trained, and its {part} split holds "
            f"{', '.join(seen)}, which it was trained on; say which mosaics to score with --split-file CSV"
        )
