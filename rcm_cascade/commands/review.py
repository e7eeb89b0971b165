"""`rcm-cascade review`: the pages of annotated mosaics in a browser."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def review(
    out: Annotated[Path, Argument(metavar="DIR", help="That `annotate --page` wrote into.")],
    port: Annotated[int, Option(metavar="N", min=0, max=65535, help="0: a free one.")] = 8765,
) -> None:
    """Look through annotated mosaics in a browser, and mark regions.

    Serves the pages in DIR to this machine alone, until ctrl-c; what is marked is kept in STEM.marks.csv there.
    """
    from rcm_cascade.review.server import Server

    with Server(out, port) as server:
        print(server.address, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
