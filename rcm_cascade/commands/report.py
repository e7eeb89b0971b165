"""`rcm-cascade report`: the page and the tables of a sweep."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def report(
    sweep: Annotated[
        Path, Argument(metavar="SWEEP_DIR", help="As `train --multirun` writes, such as runs/NAME.", show_default=False)
    ],
    reference: Annotated[
        str | None,
        Option(metavar="NAME", help="Configuration that the others are compared with (default: the first)."),
    ] = None,
    score: Annotated[
        float | None,
        Option(
            metavar="S",
            help="Validation mean sensitivity that times are measured to (default: 90% of the reference's best).",
        ),
    ] = None,
    metric: Annotated[
        str, Option(metavar="METRIC", help="Of metrics.json, by which configurations are ranked.")
    ] = "sensitivity",
) -> None:
    """Compare the configurations of a sweep.

    Writes report.html and its tables as CSV into a sweep's folder: each configuration over its seeds, its differences
    to a reference with intervals over patients, and which of these intervals hold zero. Finished jobs that
    have not been evaluated are evaluated first.
    """
    from rcm_cascade.report.pages import PAGE
    from rcm_cascade.report.sweep import write_report

    comparison = write_report(sweep, reference=reference, score=score, metric=metric)
    print(sweep / PAGE)
    if any(entry.state == "not scored" for entry in comparison.left_out):
        raise typer.Exit(1)
