from pathlib import Path
from typing import Any

import pytest

from experiments.starter.export import BEGIN, END, PAGES, between_markers, tell
from experiments.starter.saved import last_score, steps_to
from rcm_cascade.annotate.starter import starter_path
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import load_checkpoint
from rcm_cascade.report.learning import MONITORED


def test_numbers_stand_between_the_markers_and_the_rest_stays() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between_markers(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    for broken in ("no marker", f"{BEGIN} alone", page + page):
        with pytest.raises(InputError, match="the page needs one line"):
            between_markers(broken, "new")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_the_pages_have_their_markers(page: Path) -> None:
    assert "new" in between_markers(page.read_text("utf-8"), "new")


def test_a_card_tells_each_class_with_its_interval() -> None:
    row: dict[str, Any] = {"sensitivity": 0.5, "specificity": None, "dice": 0.25}
    row |= {"sensitivity_ci": [0.4, 0.625], "specificity_ci": None, "dice_ci": None}
    calibration = {"ece": 0.12, "ece_at_temperature": 0.03}
    classes = [row | {"name": name} for name in RCM_CLASSES.names]
    metrics = {"classes": classes, "mean": row, "mosaics": 36, "patients": 36, "labelled_pixels": 9}
    result = {"steps": 7000, "seconds": 3600, "split_id": "5"}
    told = tell(load_checkpoint(starter_path()), metrics | {"calibration": calibration}, result, "c0ffee")
    assert "| ring | .50 (.40–.62) | – | .25 |" in told
    assert "36 held-out phantoms of 36 phantom patients" in told
    assert "error .12 as trained, .03 at the stored temperature" in told
    assert "commit c0ffee" in told


def test_steps_to_a_score() -> None:
    history = [{"step": 9.0, MONITORED: 0.3}, {"step": 14.0}, {"step": 19.0, MONITORED: 0.5}, {"step": 29.0}]
    assert last_score(history) == 0.5
    assert [steps_to(history, score) for score in (0.1, 0.3, 0.4, 0.6)] == [10, 10, 20, None]
