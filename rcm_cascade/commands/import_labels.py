"""`rcm-cascade import`: labels of other tools into a dataset folder."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from rcm_cascade.errors import InputError


def import_labels(
    sources: Annotated[
        list[Path],
        Argument(
            metavar="SOURCE",
            help="GeoJSON of QuPath, masks of Seg3D, .seg.nrrd of 3D Slicer, RoiSet.zip, painted pictures, folders of "
            "them or of sorted tiles, VivaBlock folders, lists such as train_1.txt.",
        ),
    ],
    into: Annotated[Path, Option(metavar="ROOT", help="Dataset folder, made where it is missing.")],
    mosaics: Annotated[
        list[Path] | None,
        Option(metavar="PATH", help="Mosaics that the labels are of, or a folder of them; as often as need be."),
    ] = None,
    table: Annotated[
        Path | None,
        Option(metavar="YAML", help="What words, values and colours mean: the keys names, ids and colours."),
    ] = None,
    reader: Annotated[
        str | None,
        Option("--as", metavar="KIND", help="Kind of the sources, where it is not found out."),
    ] = None,
    patient: Annotated[str, Option(metavar="TEXT", help="Of all new mosaics.")] = "",
    site: Annotated[str, Option(metavar="TEXT", help="Of all new mosaics.")] = "",
    pixel_size: Annotated[
        float | None, Option(metavar="UM", min=0.001, help="µm per pixel of all new mosaics that do not say it.")
    ] = None,
    grid: Annotated[
        str | None,
        Option(metavar="ROWSxCOLUMNS", help="In which the numbered frames of a VivaBlock lie that has no mosaic."),
    ] = None,
    replace: Annotated[bool, Option("--replace", help="Replace labels that are there and are others.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be imported, and write nothing.")] = False,
) -> None:
    """Import labels of other tools.

    Appends to the manifest of ROOT and copies mosaics and label maps into it. What it does not understand it lists with
    its place and leaves unlabelled.
    """
    from rich.console import Console
    from rich.table import Table

    from rcm_cascade.importers.into import import_labels as import_all
    from rcm_cascade.importers.into import summary

    classes, done = import_all(
        sources, into, mosaics or (), table=table, reader=reader, patient=patient, site=site, pixel_size_um=pixel_size,
        grid=_grid(grid), replace=replace, dry_run=dry_run,
    )  # fmt: skip
    shown = Table("mosaic", "outcome", "labelled", "of that")
    for row in summary(classes, done):
        shown.add_row(*row)
    Console().print(shown)
    for each in done:
        for note in each.notes:
            print(note if each.refused else f"{each.mosaic or each.source}: {note}", file=sys.stderr)
    if dry_run:
        print("nothing was written (--dry-run)")
    if any(each.refused for each in done):
        raise typer.Exit(1)


def _grid(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})\s*[x×*]\s*([1-9]\d{0,3})", text)
    if match is None:
        raise InputError(f"--grid is {text!r}; expected rows and columns, such as 5x7")
    return int(match[1]), int(match[2])
