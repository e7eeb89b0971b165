import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rcm_cascade.classes import ClassTable
from rcm_cascade.commands.crossval_designs import compare_designs, comparison_table, sentences, write_comparison
from rcm_cascade.commands.fold_files import Folds
from rcm_cascade.commands.out_of_fold import Pooled, pool_folds
from rcm_cascade.data.folds import FoldRule
from rcm_cascade.evaluate.bootstrap import draw_patients, percentile_interval
from rcm_cascade.evaluate.confusion import dice, macro_mean, macro_means
from rcm_cascade.evaluate.paired import DRAWS
from tests.commands.folding import evaluated_runs, made_folds
from tests.report.test_evaluation import BROWSER, BROWSERS, render


def designs(
    folder: Path, classes: ClassTable, rights: dict[str, float], seeds: tuple[int, ...] = (0,), patients: int = 7
) -> tuple[Folds, list[Pooled]]:
    folds = made_folds(folder, classes, FoldRule("patients", 3, 0), patients)
    return folds, [pool_folds(folds, d, evaluated_runs(folds, d, seeds, right)) for d, right in rights.items()]


def test_the_difference_is_paired_by_patient(classes: ClassTable, tmp_path: Path) -> None:
    _, pooled = designs(tmp_path, classes, {"cascade": 0.7, "unet": 0.6})
    comparison = compare_designs(pooled, classes.names)
    assert comparison["reference"] == "cascade"
    assert (comparison["mosaics"], comparison["patients"]) == (14, 7)
    reference, other = comparison["designs"]
    assert reference["differences"] == {}

    sums = []
    for own in pooled:
        by_patient = np.zeros((7, 3, 3), np.int64)
        for r in own.seeds[0]:
            by_patient[int(r.patient[1:])] += r.confusion
        sums.append(by_patient)
    ours, theirs = sums[1].sum(axis=0), sums[0].sum(axis=0)
    found = other["differences"]["dice"][-1]
    assert found["name"] == "mean"
    assert found["value"] == pytest.approx(macro_mean(dice(ours), ours) - macro_mean(dice(theirs), theirs))
    drawn = draw_patients(7, DRAWS, 0)
    resampled = [np.tensordot(drawn, s, axes=1) for s in sums]
    means = [macro_means(dice(m), m) for m in resampled]
    assert (found["low"], found["high"]) == pytest.approx(percentile_interval(means[1] - means[0], patients=7))
    assert found["told"] is True
    assert [plain["name"] for plain in other["differences"]["sensitivity"]] == [*classes.names, "mean"]
    assert other["numbers"]["dice"][-1]["mean"] == pytest.approx(macro_mean(dice(ours), ours))


def test_a_difference_that_the_data_cannot_tell_is_said_to_be_none(classes: ClassTable, tmp_path: Path) -> None:
    _, pooled = designs(tmp_path, classes, {"cascade": 0.7, "twin": 0.702, "worse": 0.5}, seeds=(0, 1))
    comparison = compare_designs(pooled, classes.names)
    twin, worse = (d["differences"]["dice"][-1] for d in comparison["designs"][1:])
    assert twin["low"] < 0 < twin["high"]
    assert (twin["told"], worse["told"]) == (False, True)
    assert comparison["designs"][1]["numbers"]["dice"][-1]["n"] == 2
    first, second = sentences(comparison)
    assert first.startswith("twin against cascade: ")
    assert first.count("not told from zero by these data") == 3
    assert "not told" not in second
    assert "−" in second


def test_below_five_patients_there_is_no_interval_and_this_is_said(classes: ClassTable, tmp_path: Path) -> None:
    _, pooled = designs(tmp_path, classes, {"a": 0.7, "b": 0.5}, patients=4)
    comparison = compare_designs(pooled, classes.names)
    found = comparison["designs"][1]["differences"]["dice"][-1]
    assert found["value"] < 0
    assert (found["low"], found["high"], found["told"]) == (None, None, None)
    assert "no intervals" in comparison["method"]


def test_page_file_and_table_show_the_same(classes: ClassTable, tmp_path: Path) -> None:
    folds, pooled = designs(tmp_path, classes, {"cascade": 0.7, "unet": 0.6}, seeds=(0, 1))
    comparison = write_comparison(folds, pooled, ["data=folder"])
    assert json.loads((tmp_path / "comparison.json").read_text()) == comparison
    page = (tmp_path / "report.html").read_text()
    value = comparison["designs"][1]["differences"]["dice"][-1]["value"]
    shown = f"{value:+.3f}".replace("-", "−")
    assert shown in page
    assert f"<strong>{shown}</strong>" in page
    for words in ("synthetic", "data=folder", "unet/report.html", "How the designs differ", "0, 1"):
        assert words in page, words
    assert page.count("data:image/svg+xml") == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(comparison))
    text = console.export_text()
    assert f"{shown.replace('0.', '.')} *" in text
    assert "told from zero" in text
    assert "…" not in text


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser to render in: none of {', '.join(BROWSERS)} is installed")
def test_the_page_renders_without_complaint_and_nothing_overflows(classes: ClassTable, tmp_path: Path) -> None:
    rights = {"cascade": 0.7, "unet_parameters": 0.6, "a_design_of_a_rather_long_name": 0.65}
    folds, pooled = designs(tmp_path, classes, rights, seeds=(0, 1))
    write_comparison(folds, pooled, ["data=folder"])
    for width in (1400, 900, 520):
        seen = render(tmp_path / "report.html", tmp_path, width)
        assert seen.pop("height") > 1500
        assert seen == {"overflow": 0, "wide": 0, "broken": 0, "console": []}, width
