"""`rcm-cascade phantom`: a data set of synthetic mosaics."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def phantom(
    out: Annotated[Path, Argument(metavar="OUT", help="Folder to write; must not exist, or be empty.")],
    mosaics: Annotated[int, Option(metavar="N", help="How many.")] = 16,
    size_mm: Annotated[tuple[float, float], Option(metavar="H W", help="Height and width.")] = (6, 6),
    pixel_size: Annotated[float, Option(metavar="UM", help="µm per pixel.")] = 8,
    seed: Annotated[int, Option(metavar="S", help="Another seed, other phantoms.")] = 0,
    patients: Annotated[int | None, Option(metavar="P", help="How many patients (default: one a mosaic).")] = None,
    sites: Annotated[int, Option(metavar="K", help="How many clinics.")] = 1,
    deformed_meshwork: Annotated[
        float | None,
        Option(
            metavar="SHARE",
            help="0 to 1, the share of the meshwork that is deformed (default: drawn for each mosaic, .35 on average).",
        ),
    ] = None,
) -> None:
    """Make a data set of synthetic mosaics.

    Writes a dataset folder of synthetic mosaics with known truth. They validate code; they are no patients.
    """
    from rcm_cascade.phantom import write_phantoms

    write_phantoms(
        out,
        mosaics=mosaics,
        size_mm=size_mm,
        pixel_size_um=pixel_size,
        seed=seed,
        patients=patients,
        sites=sites,
        deformed_meshwork=deformed_meshwork,
    )
    print(f"{out}: {mosaics} phantom mosaics (synthetic, no patients)")
