"""What does each change of the processor's engine give? One mosaic, annotated without each of them in turn.

Times the network alone, image in memory to labels in memory; the code of an earlier commit in a process of its own.
Writes changes.md into --out. Usage: python -m experiments.speed.changes --checkpoint C
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from unittest.mock import patch

import numpy as np
import typer
from numpy.typing import NDArray

from experiments.script import run, table
from experiments.speed.machine import Timed, describe_machine, take_turns
from experiments.speed.mosaics import enlarged, phantom_mosaic, write_mosaic
from rcm_cascade.annotate import tiling
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.cpu import openvino_backend
from rcm_cascade.files import write_text

WITHOUT: Final[Mapping[str, Mapping[tuple[Any, str], Any]]] = {
    "as it is": {},
    "one band at a time, on all threads": {(openvino_backend, "STREAMS"): 1},
    "strips as high as memory allows": {(tiling, "LEAST_ROWS"): (112, 112), (tiling, "MOST_ROWS"): 10**6},
    "graphs compiled for each mosaic": {},
}
FRESH: Final = "graphs compiled for each mosaic"


def main(
    checkpoint: Annotated[Path, typer.Option(metavar="C", help="Of a trained network.")],
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("runs/speed"),
    size: Annotated[tuple[int, int], typer.Option(metavar="H W", help="In px.")] = (4096, 6000),
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Medians of so many.")] = 3,
    before: Annotated[str, typer.Option(metavar="COMMIT", help="Whose code is timed, too; empty: none.")] = "c00dc1f",
) -> None:
    annotator = Annotator.load(checkpoint, device="cpu")
    um = annotator.header.working_pixel_size_um or 1.0
    mosaic = enlarged(phantom_mosaic(um), size)
    with tempfile.TemporaryDirectory() as folder, checked_out(before, Path(folder) / "before") as code:
        file = Path(folder) / "mosaic.tif"
        write_mosaic(file, mosaic, um)
        runs = [Timed(name, partial(once, annotator, mosaic, um, name)) for name in WITHOUT]
        if code is not None:
            runs.append(Timed(f"the code of {before}", partial(once_by, code, file, checkpoint)))
        for name in WITHOUT:
            once(annotator, mosaic[:512], um, name)
        take_turns(runs, rounds)
    machine = describe_machine(next(annotator.network.parameters()).device)
    rows = [[each.name, f"{each.median:.2f}", f"{each.median / runs[0].median:.2f}"] for each in runs]
    text = (
        f"{machine['device']}, {machine['threads']} threads ({machine['arithmetic']}); commit {machine['commit']}; "
        f"{size[0]} × {size[1]} px; medians of {rounds} interleaved rounds.\n\n"
        + table(["without", "s/MP", "times as long"], rows) + "\n"
    )  # fmt: skip
    write_text(out / "changes.md", text)
    print(text, end="")


def once(annotator: Annotator, mosaic: NDArray[np.uint8], um: float, name: str) -> float:
    """Seconds a megapixel of annotating without a change."""
    with ExitStack() as stack:
        for (module, constant), value in WITHOUT[name].items():
            stack.enter_context(patch.object(module, constant, value))
        if name == FRESH or name not in _made:
            _made[name] = Annotator(annotator.network, annotator.header)
        options = AnnotationOptions(precision="fp32", backend="openvino")
        annotated = _made[name].annotate(mosaic, options, pixel_size_um=um)
    return annotated.annotation.seconds / mosaic.size * 1e6


_made: Final[dict[str, Annotator]] = {}
"""Each has its own graphs, as `once` has made it."""


def once_by(code: Path, file: Path, checkpoint: Path) -> float:
    """The same of other code, in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        words = ["annotate", str(file), "--checkpoint", str(checkpoint.absolute()), "--out", out]
        environment = os.environ | {"PYTHONPATH": str(code)}
        command = [sys.executable, "-m", "rcm_cascade", *words, "--precision", "fp32", "--backend", "openvino"]
        subprocess.run(command, env=environment, check=True, capture_output=True, cwd=code)
        timing = json.loads((Path(out) / "mosaic.json").read_text("utf-8"))["timing"]
    return 1 / float(timing["megapixels_per_s"])


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path | None]:
    """The code of a commit."""
    if not commit:
        yield None
        return
    subprocess.run(["git", "worktree", "add", "--detach", str(folder), commit], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], check=True, capture_output=True)


if __name__ == "__main__":
    run(main)
