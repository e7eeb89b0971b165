from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.pictures.colours import colorize
from rcm_cascade.report import galleries as pictures
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.evaluation import comparison
from rcm_cascade.report.galleries import galleries, last_panel, mosaic_scores
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.runs.score import comparison_path
from tests.report.making import predict


@pytest.mark.parametrize("shape", [(90, 140), (300, 200), (40, 30), (700, 650)])
def test_the_last_panel_of_a_comparison_is_the_prediction(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    prediction, truth = rng.integers(0, 6, (2, *shape)).astype(np.uint8)
    figure = comparison(image, truth, prediction, RCM_CLASSES, 4.0, "mosaics/1.tif", "A caption. " * 5)
    panel = last_panel(figure)
    assert panel is not None
    np.testing.assert_array_equal(np.asarray(panel), colorize(prediction, RCM_CLASSES))


def test_a_picture_without_frames_has_no_panel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    assert last_panel(Image.fromarray(noise)) is None
    assert last_panel(Image.new("RGB", (60, 80), "white")) is None


def reader(folder: Path) -> pictures.Read:
    def read(outcome: Outcome, number: int) -> Image.Image | None:
        path = comparison_path(folder / outcome.job.name / "evaluation", number, outcome.names[number])
        with Image.open(path) as picture:
            return picture.convert("RGB")

    return read


def test_worst_and_best_are_the_references_by_dice(compared: Comparison, sweep_folder: Path) -> None:
    worst, best = galleries(compared, reader(sweep_folder))
    scores = mosaic_scores(compared.reference.outcomes[0])
    names = compared.reference.outcomes[0].names
    assert (worst.rank, worst.mosaic) == ("worst", names[int(np.argmin(scores))])
    assert (best.rank, best.mosaic) == ("best", names[int(np.argmax(scores))])
    assert worst.mosaic != best.mosaic
    assert worst.reference.title == f"model.levels=3, seed 0: mean Dice {min(scores):.2f}"
    assert [p.title.split(",")[0] for p in worst.others] == ["model.levels=2", "model.levels=1"]
    number = names.index(worst.mosaic)
    predicted = predict(number, 0.5 + 0.02 * number, 0)
    expected = colorize(np.kron(predicted, np.ones((4, 4), np.uint8)), RCM_CLASSES)
    np.testing.assert_array_equal(np.asarray(worst.others[1].image), expected)


def test_pictures_that_are_gone_are_left_out(compared: Comparison, sweep_folder: Path) -> None:
    read = reader(sweep_folder)
    some = galleries(compared, lambda o, n: None if "levels=2" in o.job.name else read(o, n))
    assert [len(g.others) for g in some] == [1, 1]
    assert galleries(compared, lambda o, n: None if "levels=3" in o.job.name else read(o, n)) == []


def test_wide_pictures_are_shrunk(compared: Comparison, sweep_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = galleries(compared, reader(sweep_folder))[0].reference.image
    monkeypatch.setattr(pictures, "WIDEST", 300)
    shrunk = galleries(compared, reader(sweep_folder))[0].reference.image
    assert shrunk.width == 300
    assert shrunk.height == round(whole.height * 300 / whole.width)
