"""`rcm-cascade evaluate`: a checkpoint, or label maps of others, against a data set's label maps."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from rcm_cascade.errors import InputError


def evaluate(
    data: Annotated[Path, Option(metavar="ROOT", help="Dataset folder.")],
    checkpoint: Annotated[
        Path | None, Argument(metavar="CHECKPOINT", help="Such as runs/NAME/checkpoints/best.ckpt.")
    ] = None,
    split: Annotated[Literal["train", "val", "test"], Option(help="Which part.")] = "test",
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Default: evaluation/ in the checkpoint's run folder.")
    ] = None,
    split_file: Annotated[
        Path | None, Option(metavar="CSV", help="Columns mosaic,split; overrides every other split.")
    ] = None,
    predictions: Annotated[
        Path | None,
        Option(metavar="DIR", help="Score label maps in DIR, made by any tool; with CHECKPOINT, paired with its own."),
    ] = None,
    readers: Annotated[
        list[Path] | None,
        Option(metavar="DIR", help="A reader's label maps; given again: another's. How far they and the data agree."),
    ] = None,
    costs: Annotated[
        Path | None, Option(metavar="FILE", help="What mistakes cost, 'truth: {prediction: cost}' a line of YAML.")
    ] = None,
) -> None:
    """Score a checkpoint on labelled mosaics.

    Annotates the mosaics of a split whole and compares with their label maps: metrics.json, per_mosaic.csv, a confusion
    picture and report.html. Or, with --predictions, the label maps of another tool; with --readers, how far readers
    agree.
    """
    from rich.console import Console

    from rcm_cascade.report import pages
    from rcm_cascade.report.tables import agreement_table, format_table
    from rcm_cascade.threads import leave_busy_cores

    if checkpoint is None and predictions is None and not readers:
        raise InputError("nothing to evaluate; give a CHECKPOINT, --predictions DIR or --readers DIR")
    if out is None and (predictions is not None or readers):
        raise InputError("say where to write what label maps come to with --out DIR")
    if readers:
        from rcm_cascade.runs.predictions import compare_readers

        assert out is not None
        Console().print(agreement_table(compare_readers(readers, data, split, out, split_file)))
        print(out / "agreement.json")
    if predictions is not None:
        assert out is not None
        summary, classes, folder = pages.evaluate_predictions(
            predictions, data, split, out, split_file, checkpoint, costs
        )
    elif checkpoint is not None:
        leave_busy_cores()
        summary, classes, folder = pages.evaluate(checkpoint, data, split, out, split_file, costs)
    else:
        return
    Console().print(format_table(summary, classes))
    print(folder / "report.html")
