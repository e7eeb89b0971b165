import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.evaluate.bootstrap import bootstrap
from rcm_cascade.evaluate.confusion import dice, macro_mean, sensitivity, specificity
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import LevelResult, MosaicResult, read_results
from rcm_cascade.evaluate.summary import per_patient_table, summarise, write_metrics

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
    assert summary["classes"][3]["sensitivity_ci"] == list(intervals["sensitivity"][3] or ())
    assert [c["patients"] for c in summary["classes"]] == [6, 6, 2, 6, 6, 6]
    assert summary["classes"][2]["sensitivity_ci"] is None
    assert summary["bootstrap"]["method"].startswith("expanded percentiles")
    assert summary["mean"]["dice_ci"] == list(intervals["dice"][-1] or ())
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
    assert summary["mosaics_without_patient"] == 0
    assert summarise([replace(result, patient_given=False)] * 2, TWO)["mosaics_without_patient"] == 2
    empty = summarise([MosaicResult("m", "p", "", None, np.zeros((2, 2), np.int64))], TWO)
    assert empty["pixel_accuracy"] is empty["mean"]["dice"] is None
    json.dumps(empty, allow_nan=False)


def test_files_hold_the_summary_and_one_row_a_mosaic(results: list[MosaicResult], tmp_path: Path) -> None:
    summary = summarise(results, RCM_CLASSES, synthetic=True)
    out = tmp_path / "new" / "folder"
    write_metrics(out, summary, results, RCM_CLASSES)
    assert sorted(p.name for p in out.iterdir()) == [
        "confusions.json",
        "metrics.json",
        "per_mosaic.csv",
        "per_patient.csv",
    ]
    assert summarise(read_results(out / "confusions.json")[1], RCM_CLASSES, synthetic=True) == summary
    pd.testing.assert_frame_equal(
        pd.read_csv(out / "per_patient.csv"), per_patient_table(results, RCM_CLASSES), atol=1e-6, rtol=0
    )
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


def test_averages_are_named_and_differ(results: list[MosaicResult]) -> None:
    summary = summarise(results, RCM_CLASSES)
    averages = summary["averages"]
    assert averages["pooled"] == {key: summary["mean"][key] for key in METRICS}
    own = [macro_mean(dice(r.confusion), r.confusion) for r in results]
    # the last two mosaics are of one patient, whose number is that of the two matrices together
    last = results[5].confusion + results[6].confusion
    by_patient = [*own[:5], macro_mean(dice(last), last)]
    for key, values in (("per_mosaic", own), ("per_patient", by_patient)):
        assert averages[key]["dice"] == {
            "mean": pytest.approx(np.mean(values)),
            "sd": pytest.approx(np.std(values, ddof=1)),
            "n": len(values),
        }
    assert averages["per_mosaic"]["dice"]["mean"] != pytest.approx(averages["per_patient"]["dice"]["mean"], abs=1e-6)


def test_an_average_is_over_those_that_have_a_number() -> None:
    only_a = MosaicResult("m", "p", "", None, np.array([[3, 1], [0, 0]]))  # no specificity: there is no other class
    both = MosaicResult("n", "q", "", None, np.array([[2, 2], [1, 3]]))
    averages = summarise([only_a, both], TWO)["averages"]
    assert averages["per_mosaic"]["specificity"] == {"mean": pytest.approx(0.625), "sd": None, "n": 1}
    assert averages["per_mosaic"]["sensitivity"]["n"] == 2
    empty = summarise([MosaicResult("m", "p", "", None, np.zeros((2, 2), np.int64))], TWO)["averages"]
    assert empty["per_patient"]["dice"] == {"mean": None, "sd": None, "n": 0}
    assert empty["pooled"]["dice"] is None


def test_levels_are_pooled_coarse_to_fine(results: list[MosaicResult]) -> None:
    def with_levels(r: MosaicResult) -> MosaicResult:
        return replace(r, levels=(LevelResult(2, r.confusion.T, r.truth_coherence), LevelResult(1, r.confusion)))

    levels = summarise([with_levels(r) for r in results], RCM_CLASSES)["levels"]
    matrix = np.sum([r.confusion for r in results], axis=0)
    assert [(row["level"], row["factor"]) for row in levels] == [(1, 2), (2, 1)]
    for row, pooled in zip(levels, (matrix.T, matrix), strict=True):
        assert row["mean"]["sensitivity"] == pytest.approx(macro_mean(sensitivity(pooled), pooled))
        assert [c["name"] for c in row["classes"]] == list(RCM_CLASSES.names)
        assert [c["dice"] for c in row["classes"]] == pytest.approx(dice(pooled).tolist())
    assert levels[0]["coherence"] == summarise(results, RCM_CLASSES)["coherence"]["truth"]
    assert levels[1]["coherence"] is None
    assert summarise(results, RCM_CLASSES)["levels"] == []
    assert summarise([with_levels(results[0]), *results[1:]], RCM_CLASSES)["levels"] == []


def test_calibration_is_handed_on_or_null(results: list[MosaicResult]) -> None:
    assert summarise(results, RCM_CLASSES)["calibration"] is None
    assert summarise(results, RCM_CLASSES, calibration={"ece": 0.1})["calibration"] == {"ece": 0.1}


def test_one_row_a_patient_from_all_their_mosaics(results: list[MosaicResult]) -> None:
    rows = per_patient_table(results[::-1], RCM_CLASSES).to_dict("records")
    assert [(r["patient"], r["mosaics"]) for r in rows] == [*((f"p{i}", 1) for i in range(5)), ("p5", 2)]
    last = results[5].confusion + results[6].confusion
    assert int(rows[5]["labelled_pixels"]) == last.sum()
    assert float(rows[5]["specificity_ring"]) == pytest.approx(specificity(last)[3], abs=1e-6)
    assert float(rows[0]["mean_dice"]) == pytest.approx(
        macro_mean(dice(results[0].confusion), results[0].confusion), abs=1e-6
    )
    assert {math.isnan(row["sensitivity_meshwork"]) for row in rows} == {True, False}


def test_nothing_to_summarise_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise([], TWO)
