"""Are the phantoms learnable? A small cascade trained on phantoms says so on held-out phantom patients.

Trains, scores the best checkpoint, and draws the most common confusions. The same command goes on where it was
interrupted. Usage: python experiments/phantom/cascade.py [--minutes 20] [--mosaics 80]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from experiments.phantom.baseline import markdown_tables
from experiments.phantom.confusions import Compared, Confusion, draw_confusions, most_common
from experiments.script import run
from rcm_cascade.annotate import Annotator
from rcm_cascade.classes import ClassTable
from rcm_cascade.files import write_text, written_whole
from rcm_cascade.report.pages import evaluate
from rcm_cascade.report.text import SYNTHETIC_NOTE
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import TrainingData, find_dataset, load_training_data
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.train import train

MINUTES: Final = 20.0
MOSAICS: Final = 80

PICTURE_PX: Final = 1400
"""Width of the picture at most: it is committed beside the table."""


def run_name(minutes: float, mosaics: int) -> str:
    """Of the run's folder; a trial has its own, so that it does not stand in the way of the real thing."""
    real = (minutes, mosaics) == (MINUTES, MOSAICS)
    return "phantom-cascade" if real else f"phantom-cascade-{mosaics}-mosaics-{minutes:g}-min"


def overrides(minutes: float, mosaics: int) -> list[str]:
    """The configuration: the paper's form with 12 filters on phantoms of 6 × 6 mm at 8 µm, one a patient.

    Args:
        minutes: training time.
        mosaics: how many; about 30 % are tested on.
    """
    seconds = round(minutes * 60)
    return [
        f"run={run_name(minutes, mosaics)}",
        f"data.phantom.mosaics={mosaics}",
        "data.phantom.sites=3",
        "data.phantom.seed=11",
        "data.working_pixel_size_um=8",
        "data.sampling=balanced",
        "model.base_filters=12",
        "augment.intensity_shift=0.02",  # as in the demo: time is short
        "optim.lr=3e-3",
        "optim.ema=0.99",
        f"trainer.max_time=00:{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}",
    ]


def compare(data: TrainingData, checkpoint: Path) -> list[Compared]:
    """Annotates the test mosaics, on the grid that they were painted on."""
    annotator = Annotator.load(checkpoint)
    compared = []
    for mosaic in data.open("test"):
        annotated = annotator.annotate_mosaic(mosaic)
        truth = mosaic.native_labels
        assert truth is not None
        compared.append(Compared(mosaic.name, mosaic.native_image, truth, annotated.labels, annotated.pixel_size_um))
    return compared


def confusion_list(confusions: Sequence[Confusion], mosaics: Sequence[Compared], classes: ClassTable) -> str:
    """The confusions in words as a Markdown list, with the places drawn: mosaic, row and column in px."""
    lines = []
    for confusion in confusions:
        places = (f"{Path(mosaics[p.mosaic].name).stem} ({p.row}, {p.column})" for p in confusion.places)
        lines.append(f"- {confusion.describe(classes)}; see {', '.join(places)}")
    return "\n".join(lines)


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Training time.")] = MINUTES,
    mosaics: Annotated[int, typer.Option(metavar="N", help="One a patient.")] = MOSAICS,
) -> None:
    config = compose_config(overrides(minutes, mosaics))
    folder = RunFolder(Path("runs") / run_name(minutes, mosaics))
    result = train(config, folder.path)
    summary, classes, _ = evaluate(folder.best, find_dataset(config.data), "test", None)
    compared = compare(load_training_data(config.data), folder.best)
    confusions = most_common(compared, classes)
    picture = draw_confusions(confusions, compared, classes, note=f"{len(compared)} {SYNTHETIC_NOTE}.")
    with written_whole(folder.path / "confusions.jpg") as temporary:
        picture.thumbnail((PICTURE_PX, 3 * PICTURE_PX))
        picture.save(temporary, format="JPEG", quality=80, optimize=True)
    trained = f"Trained for {result['seconds'] / 60:.1f} min, {result['steps']} steps."
    listed = confusion_list(confusions, compared, classes)
    text = f"{markdown_tables(summary, classes)}\n{trained}\n\n{listed}\n"
    write_text(folder.path / "cascade.md", text)
    print(text)


if __name__ == "__main__":
    run(main)
