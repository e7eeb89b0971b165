"""`rcm-cascade demo`: the whole chain on phantoms."""

import sys
from pathlib import Path

from rich.console import Console

from rcm_cascade.commands.annotate import annotate
from rcm_cascade.commands.evaluate import evaluate
from rcm_cascade.commands.train import train
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import read_split
from rcm_cascade.errors import InputError
from rcm_cascade.report.tables import format_table
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.folder import RunFolder

RUN = "demo"
LEAST_PIXELS = 4_000_000


def demo(minutes: float) -> None:
    """Phantoms, training, evaluation on held-out patients, an annotated mosaic, a page; prints table and paths.

    Args:
        minutes: training time.

    Raises:
        InputError: if ``runs/demo`` holds another configuration.
    """
    if minutes <= 0:
        raise InputError(f"--minutes is {minutes:g}; give a number above 0")
    config = compose_config([f"run={RUN}", "data.root=phantoms/demo", *overrides(minutes)])
    folder = RunFolder(Path("runs") / RUN)
    train(config, folder.path)
    root = Path("phantoms/demo")
    summary, classes, _ = evaluate(folder.best, root, "test", None)
    split = read_split(folder.split)
    held_out = next(e for e in read_dataset(root).entries if split[e.mosaic] == "test")
    annotated = folder.path / "annotated"
    if annotate([held_out.image], folder.best, annotated):
        raise InputError(f"{held_out.image} could not be annotated; see above")
    Console().print(format_table(summary, classes))
    overlay = next(p for p in sorted(annotated.iterdir()) if p.name.endswith(".overlay.png"))
    print(f"\nannotated mosaic: {overlay}\nreport:           {folder.report}")
    print("Phantoms are synthetic: this shows the software and says nothing about patients.", file=sys.stderr)


def overrides(minutes: float) -> list[str]:
    """The demo's configuration: phantoms of 4 MP at 3 µm, trained on at 8 µm."""
    seconds = max(1, round(minutes * 60))
    return [
        "data.phantom.mosaics=20",
        "data.phantom.size_mm=[6.2,6.2]",
        "data.phantom.pixel_size_um=3",
        "data.working_pixel_size_um=8",
        "data.sampling=balanced",  # twelve mosaics hold some class in few places only
        "augment.intensity_shift=0.02",  # phantoms of one instrument; the default's ±0.1 takes longer to learn
        "optim.lr=3e-3",
        "optim.ema=0.99",
        f"trainer.max_time=00:{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}",
    ]
