from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.evaluate.calibration import Sample, measure_calibration
from rcm_cascade.evaluate.metrics import MosaicResult, summarise
from rcm_cascade.evaluate.results import LevelResult
from rcm_cascade.report.parts import cell, percent, result_parts
from tests.conftest import THREE


def calibrated(temperature: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sample = Sample(rng.normal(0, 3, (12_345, 6)).astype(np.float32), rng.integers(0, 6, 12_345).astype(np.uint8))
    return measure_calibration(sample, temperature)


@pytest.fixture(scope="module")
def summary(results: list[MosaicResult]) -> dict[str, Any]:
    levelled = [
        replace(
            r, levels=(LevelResult(2, r.confusion.T, r.truth_coherence), LevelResult(1, r.confusion, r.truth_coherence))
        )
        for r in results
    ]
    return summarise(levelled, RCM_CLASSES, calibration=calibrated(2.5))


@pytest.fixture(scope="module")
def parts(summary: dict[str, Any]) -> dict[str, Any]:
    return result_parts(summary, RCM_CLASSES)


def test_averages_are_named(summary: dict[str, Any], parts: dict[str, Any]) -> None:
    pooled, mosaics, patients = parts["averages"]
    assert (pooled["name"], mosaics["name"], patients["name"]) == ("pooled", "per mosaic", "per patient")
    assert pooled["cells"][0] == (f"{summary['mean']['sensitivity']:.2f}", "")
    spread = summary["averages"]["per_mosaic"]["dice"]
    assert mosaics["cells"][2] == (f"{spread['mean']:.2f} ± {spread['sd']:.2f}", "n = 7")
    assert patients["cells"][1][1] == "n = 6"


def test_a_single_mosaic_has_no_spread(results: list[MosaicResult]) -> None:
    _, mosaics, _ = result_parts(summarise(results[:1], RCM_CLASSES), RCM_CLASSES)["averages"]
    assert "±" not in mosaics["cells"][0][0]
    assert mosaics["cells"][0][1] == "n = 1"


def test_what_classes_are_taken_for() -> None:
    matrix = np.array([[60, 10, 30], [0, 50, 0], [0, 0, 0]])
    summary = summarise([MosaicResult("m", "p", "", None, matrix)], THREE)
    first, second, third = result_parts(summary, THREE)["taken_for"]
    assert [row["patients"] for row in (first, second, third)] == ["1", "1", "0"]
    assert first["found"] == "60.0 %"
    assert [(w["name"], w["share"]) for w in first["wrong"]] == [("c", "30.0 %"), ("b", "10.0 %")]
    assert first["wrong"][0]["color"] == "#00ff00"
    assert (second["found"], second["wrong"], second["labelled"]) == ("100.0 %", [], "50")
    assert (third["found"], third["wrong"], third["labelled"]) == ("–", [], "0")
    for row in summary["classes"]:
        del row["patients"]  # as an older version wrote it
    assert result_parts(summary, THREE)["taken_for"][0]["patients"] == "–"


def test_only_the_most_frequent_confusions_are_named(parts: dict[str, Any]) -> None:
    assert {len(row["wrong"]) for row in parts["taken_for"]} == {2}


def test_levels_stand_beside_the_final_map_and_the_truth(parts: dict[str, Any]) -> None:
    levels = parts["levels"]
    assert (levels["unit"], levels["small"]) == ("mm²", "0.05 mm²")
    assert [(row["name"], row["factor"]) for row in levels["rows"]] == [
        ("level 1", "2×"),
        ("level 2", "1×"),
        ("final map", ""),
        ("truth", ""),
    ]
    first, second, final, truth = levels["rows"]
    assert first["numbers"] != second["numbers"] == final["numbers"]
    assert truth["numbers"] == ["", "", ""]
    assert first["density"] == truth["density"] != final["density"]


def test_levels_without_regions_and_without_a_fitted_temperature(summary: dict[str, Any]) -> None:
    levels = [row | {"coherence": None} for row in summary["levels"]]
    parts = result_parts(summary | {"levels": levels, "calibration": calibrated(1.0)}, RCM_CLASSES)
    assert parts["levels"]["rows"][0]["density"] == parts["levels"]["rows"][0]["small_area"] == "–"
    assert not parts["calibration"]["fitted"]
    assert [row["name"] for row in parts["calibration"]["rows"]] == ["as trained"]


def test_calibration_before_and_after(summary: dict[str, Any], parts: dict[str, Any]) -> None:
    found = parts["calibration"]
    assert (found["pixels"], found["bins"], found["fitted"]) == ("12\u2009345", 15, True)
    assert [row["name"] for row in found["rows"]] == ["as trained", "at temperature 2.50"]
    assert found["rows"][0]["error"] == f"{summary['calibration']['ece']:.3f}"
    assert found["rows"][1]["likelihood"] == f"{summary['calibration']['nll_at_temperature']:.3f}"
    assert found["picture"].startswith("data:image/svg+xml")


def test_what_an_older_version_did_not_measure_is_left_out(summary: dict[str, Any]) -> None:
    old = {key: value for key, value in summary.items() if key not in ("averages", "levels", "calibration")}
    parts = result_parts(old, RCM_CLASSES)
    assert parts["averages"] is parts["levels"] is parts["calibration"] is None
    assert len(parts["taken_for"]) == 6


def test_no_labelled_pixel_and_no_second_level_need_no_table(summary: dict[str, Any]) -> None:
    nothing = measure_calibration(Sample(np.zeros((0, 6), np.float32), np.zeros(0, np.uint8)), 1.0)
    parts = result_parts(summary | {"calibration": nothing, "levels": summary["levels"][1:]}, RCM_CLASSES)
    assert parts["calibration"] is parts["levels"] is None


def test_numbers_as_tables_show_them() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "–")
    assert (cell(1_234_567), cell(0.123456), cell("x"), cell(True)) == ("1\u2009234\u2009567", "0.123", "x", "True")
