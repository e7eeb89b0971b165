"""`rcm-cascade evaluate`: a checkpoint against a data set's label maps."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option


def evaluate(
    checkpoint: Annotated[Path, Argument(metavar="CHECKPOINT", help="Such as runs/NAME/checkpoints/best.ckpt.")],
    data: Annotated[Path, Option(metavar="ROOT", help="Dataset folder.")],
    split: Annotated[Literal["train", "val", "test"], Option(help="Which part.")] = "test",
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Default: evaluation/ in the checkpoint's run folder.")
    ] = None,
    split_file: Annotated[
        Path | None, Option(metavar="CSV", help="Columns mosaic,split; overrides every other split.")
    ] = None,
) -> None:
    """Score a checkpoint on labelled mosaics.

    Annotates the mosaics of a split whole and compares with their label maps: metrics.json, per_mosaic.csv, a confusion
    picture and report.html.
    """
    from rich.console import Console

    from rcm_cascade.report.pages import evaluate as score
    from rcm_cascade.report.tables import format_table
    from rcm_cascade.threads import leave_busy_cores

    leave_busy_cores()
    summary, classes, folder = score(checkpoint, data, split, out, split_file)
    Console().print(format_table(summary, classes))
    print(folder / "report.html")
