"""`rcm-cascade batch`: what training would see."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable


def batch(
    overrides: Annotated[list[str] | None, Argument(metavar="KEY=VALUE", help="As for train.")] = None,
    out: Annotated[Path, Option(metavar="PNG", help="Picture to write.")] = Path("batch.png"),
) -> None:
    """Draw what training would see.

    Draws patches of a batch before and after augmentation, with their labels, and trains nothing.
    """
    from rcm_cascade.runs.compose import compose_config
    from rcm_cascade.runs.train import draw_batch

    refuse_unwritable(out.parent)
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the picture's file with --out PNG")
    draw_batch(compose_config(overrides or []), out)
    print(out)
