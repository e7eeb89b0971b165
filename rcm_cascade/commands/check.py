"""`rcm-cascade check`: every defect of a dataset folder at once."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def check(
    root: Annotated[Path, Argument(metavar="ROOT", help="Dataset folder.")],
    page: Annotated[
        Path | None, Option(metavar="HTML", help="Write a page with pictures and areas of every mosaic there, too.")
    ] = None,
    strict: Annotated[bool, Option("--strict", help="Status 1 where there are warnings.")] = False,
) -> None:
    """Find every defect of a data set.

    Files, sizes, ids, duplicates, overlaps, patients and classes in the splits, pixel sizes, grey levels, slips of the
    brush. Status 0: it may be trained on; 1: with --strict, there are warnings; 2: it cannot be trained on.
    """
    from rich.console import Console
    from rich.table import Table

    from rcm_cascade.data.check import check_dataset
    from rcm_cascade.report.check import write_check_page

    checked = check_dataset(root)
    console = Console(soft_wrap=True)
    if checked.findings:
        table = Table("", "defect", "mosaic", "what", show_lines=False)
        for finding in checked.findings:
            table.add_row(finding.level, finding.kind, finding.mosaic, finding.text)
        console.print(table)
    errors = sum(finding.level == "error" for finding in checked.findings)
    warnings = len(checked.findings) - errors
    verdict = "it cannot be trained on" if errors else "it may be trained on"
    print(f"{root}: {len(checked.mosaics)} mosaics, {errors} errors, {warnings} warnings: {verdict}")
    if page is not None:
        print(write_check_page(page, root, checked))
    if errors:
        raise typer.Exit(2)
    if strict and warnings:
        raise typer.Exit(1)
