import csv
import json
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.evaluate.bootstrap import bootstrap
from rcm_cascade.evaluate.confusion import confusion_matrix, dice, macro_mean, sensitivity, specificity
from rcm_cascade.evaluate.metrics import MosaicResult, score_mosaic, summarise, write_metrics
from rcm_cascade.labels import RCM_CLASSES, ClassTable, LabelClass

TWO = ClassTable((LabelClass(0, "a", "#000000"), LabelClass(1, "b", "#ffffff")))


def test_summary_derives_from_the_pooled_matrix(results: list[MosaicResult]) -> None:
    summary = summarise(results, RCM_CLASSES, draws=200)
    matrix = np.sum([r.confusion for r in results], axis=0)
    assert summary["confusion"] == matrix.tolist()
    assert [c["name"] for c in summary["classes"]] == list(RCM_CLASSES.names)
    for key, number in (("sensitivity", sensitivity), ("specificity", specificity), ("dice", dice)):
        assert [c[key] for c in summary["classes"]] == pytest.approx(number(matrix).tolist())
        assert summary["mean"][key] == pytest.approx(macro_mean(number(matrix), matrix))
    assert summary["pixel_accuracy"] == pytest.approx(matrix.trace() / matrix.sum())
    assert (summary["mosaics"], summary["patients"], summary["synthetic"]) == (7, 6, False)
    intervals = bootstrap([r.confusion for r in results], [r.patient for r in results], draws=200)
    assert summary["classes"][2]["sensitivity_ci"] == list(intervals.sensitivity[2] or ())
    assert summary["mean"]["dice_ci"] == list(intervals.mean_dice or ())
    assert summary["mean"]["dice_ci"][0] < summary["mean"]["dice"] < summary["mean"]["dice_ci"][1]


def test_summary_is_not_the_mean_over_mosaics(results: list[MosaicResult]) -> None:
    per_mosaic = [macro_mean(sensitivity(r.confusion), r.confusion) for r in results]
    assert summarise(results, RCM_CLASSES)["mean"]["sensitivity"] != pytest.approx(np.mean(per_mosaic))


def test_coherence_of_prediction_and_truth_over_the_same_area(results: list[MosaicResult]) -> None:
    coherence = summarise(results, RCM_CLASSES)["coherence"]
    assert coherence["prediction"]["area"] == pytest.approx(coherence["truth"]["area"])
    assert coherence["prediction"]["regions"] > coherence["truth"]["regions"]


def test_no_interval_below_five_patients(results: list[MosaicResult]) -> None:
    summary = summarise(results[:4], RCM_CLASSES)
    rows = [*summary["classes"], summary["mean"]]
    assert {row[f"{key}_ci"] for row in rows for key in ("sensitivity", "specificity", "dice")} == {None}
    assert summary["bootstrap"]["patients"] == 4


def test_undefined_is_null_and_the_mean_is_over_classes_present() -> None:
    result = MosaicResult("m", "p", "", None, np.array([[3, 1], [0, 0]]))
    summary = summarise([result], TWO, synthetic=True)
    absent = summary["classes"][1]
    assert absent["sensitivity"] is None
    assert absent["specificity"] == 0.75
    assert absent["dice"] == 0.0
    assert summary["classes"][0]["specificity"] is None
    assert summary["mean"]["sensitivity"] == 0.75
    assert summary["mean"]["specificity"] is None
    assert summary["coherence"] == {"prediction": None, "truth": None}
    assert summary["synthetic"] is True
    empty = summarise([MosaicResult("m", "p", "", None, np.zeros((2, 2), np.int64))], TWO)
    assert empty["pixel_accuracy"] is empty["mean"]["dice"] is None
    json.dumps(empty, allow_nan=False)


def test_files_hold_the_summary_and_one_row_a_mosaic(results: list[MosaicResult], tmp_path: Path) -> None:
    summary = summarise(results, RCM_CLASSES, synthetic=True)
    out = tmp_path / "new" / "folder"
    write_metrics(out, summary, results, RCM_CLASSES)
    assert sorted(p.name for p in out.iterdir()) == ["metrics.json", "per_mosaic.csv"]
    assert json.loads((out / "metrics.json").read_text()) == summary
    with (out / "per_mosaic.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["mosaic"] for r in rows] == [r.mosaic for r in results]
    for row, result in zip(rows, results, strict=True):
        assert (row["patient"], row["site"], row["pixel_size_um"]) == (result.patient, result.site, "50")
        assert int(row["labelled_pixels"]) == result.confusion.sum()
        assert float(row["sensitivity_nested"]) == pytest.approx(sensitivity(result.confusion)[4], abs=1e-6)
        assert float(row["mean_specificity"]) == pytest.approx(
            macro_mean(specificity(result.confusion), result.confusion), abs=1e-6
        )
        assert (row["sensitivity_meshwork"] == "") == (result.confusion[2].sum() == 0)
    assert {row["sensitivity_meshwork"] == "" for row in rows} == {True, False}


def test_score_counts_and_can_leave_regions_out() -> None:
    truth = np.array([[0, 1, 255], [1, 1, 255]], np.uint8)
    prediction = np.array([[0, 0, 1], [1, 1, 0]], np.uint8)
    result, bare = (
        score_mosaic(
            prediction, truth, mosaic="m", patient="p", site="", pixel_size_um=None, classes=TWO, coherence=wanted
        )
        for wanted in (True, False)
    )
    np.testing.assert_array_equal(result.confusion, confusion_matrix(prediction, truth, 2))
    np.testing.assert_array_equal(result.confusion, bare.confusion)
    assert result.prediction_coherence is not None
    assert result.prediction_coherence.area_px.tolist() == [2, 2]
    assert bare.prediction_coherence is bare.truth_coherence is None


def test_nothing_to_summarise_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one mosaic"):
        summarise([], TWO)
