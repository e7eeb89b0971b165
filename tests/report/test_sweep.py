import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.evaluate.confusion import dice, macro_means
from rcm_cascade.pictures.colours import colorize
from rcm_cascade.report import sweep as reports
from rcm_cascade.report.compare import Comparison
from rcm_cascade.report.sweep import galleries, write_report
from tests.report.making import make_sweep, predict


def decoded(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


def test_worst_and_best_are_the_references_by_dice_and_predictions_are_label_files(compared: Comparison) -> None:
    worst, best = galleries(compared)
    scores = macro_means(dice(compared.first.confusions), compared.first.confusions)
    names = compared.first.names
    assert (worst["rank"], worst["mosaic"]) == ("worst", names[int(np.argmin(scores))])
    assert (best["rank"], best["mosaic"]) == ("best", names[int(np.argmax(scores))])
    assert worst["mosaic"] != best["mosaic"]
    assert worst["title"] == f"model.levels=3, seed 0: mean Dice {min(scores):.2f}"
    assert [title.split(",")[0] for title, _ in worst["others"]] == ["model.levels=2", "model.levels=1"]
    number = names.index(worst["mosaic"])
    predicted = predict(number, 0.5 + 0.02 * number, 0)
    expected = colorize(np.kron(predicted, np.ones((4, 4), np.uint8)), RCM_CLASSES)
    np.testing.assert_array_equal(np.asarray(decoded(worst["others"][1][1])), expected)


def test_pictures_that_are_gone_are_left_out(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "levels", pictures=True)
    shutil.rmtree(folder / "model.levels=2,seed=0" / "evaluation" / "predictions")
    comparison = write_report(folder)
    assert [len(g["others"]) for g in galleries(comparison)] == [1, 1]
    shutil.rmtree(folder / "model.levels=3,seed=0" / "evaluation" / "comparisons")
    assert list(galleries(comparison)) == []


def test_wide_pictures_are_shrunk(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decoded(next(galleries(compared))["source"])
    monkeypatch.setattr(reports, "WIDEST", 300)
    shrunk = decoded(next(galleries(compared))["source"])
    assert shrunk.width == 300
    assert shrunk.height == round(whole.height * 300 / whole.width)
