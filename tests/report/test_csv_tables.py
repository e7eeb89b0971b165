import csv
import io
from dataclasses import replace

import pandas as pd
import pytest

from rcm_cascade.report.compare import Comparison
from rcm_cascade.report.learning import WHOLE_LEVEL
from rcm_cascade.report.sweep import level_table, result_table, to_csv
from tests.report.factories import STAGES


def read(table: pd.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def test_a_row_a_configuration_and_class_and_the_truths(compared: Comparison) -> None:
    rows = read(result_table(compared))
    assert len(rows) == 3 * 8 + 1
    assert [r["class"] for r in rows[:8]] == [*compared.classes.names, "mean", "all"]
    by_key = {(r["configuration"], r["class"]): r for r in rows}
    worse = by_key["model.levels=1", "ring"]
    number = compared.number(compared.configurations[2], "dice", "ring")
    assert float(worse["dice_mean"]) == pytest.approx(number.mean, rel=1e-5)
    assert float(worse["dice_sd"]) == pytest.approx(number.sd, rel=1e-5)
    assert worse["dice_n"] == worse["seeds"] == worse["jobs"] == "3"
    assert float(worse["dice_difference_low"]) == pytest.approx(number.low, rel=1e-5)
    assert float(worse["dice_difference_high"]) == pytest.approx(number.high, rel=1e-5)
    assert worse["dice_differs"] == "true"
    assert by_key["model.levels=2", "mean"]["sensitivity_differs"] == "false"
    reference = by_key["model.levels=3", "mean"]
    assert reference["sensitivity_differs"] == reference["sensitivity_difference"] == ""
    assert reference["reference"] == worse["reference"] == "model.levels=3"
    assert (reference["seeds_compared"], worse["seeds_compared"]) == ("", "3")
    assert (reference["patients_holding"], worse["patients_holding"]) == ("7", "7")


def test_what_is_no_number_of_a_class_stands_in_one_row(compared: Comparison) -> None:
    rows = read(result_table(compared))
    by_key = {(r["configuration"], r["class"]): r for r in rows}
    assert [r["class"] for r in rows if r["gflop_per_mp"]] == ["all"] * 3
    assert [r["class"] for r in rows if r["regions_per_mm2"]] == ["all"] * 4
    reference, worse = by_key["model.levels=3", "all"], by_key["model.levels=1", "all"]
    assert worse["dice_mean"] == worse["patients_holding"] == ""
    assert (worse["seeds"], worse["patients"], worse["mosaics"]) == ("3", "7", "8")
    assert (reference["time_to_score_s"], reference["seeds_that_reached_score"]) == ("300", "3")
    assert (worse["time_to_score_s"], worse["seeds_that_reached_score"]) == ("", "0")
    assert (worse["parameters"], worse["gflop_per_mp"], worse["train_seconds"]) == ("1500", "12.5", "180")
    assert worse["regions_per_mm2_differs"] == "true"
    assert worse["ece"] == ""


def test_the_truths_row_has_regions_alone(compared: Comparison) -> None:
    truth = read(result_table(compared))[-1]
    filled = {key for key, value in truth.items() if value}
    assert filled == {"configuration", "class", "regions_per_mm2", "small_regions_share", "small_area_share"}
    assert (truth["configuration"], truth["class"]) == ("truth", "all")
    expected = compared.reference.outcomes[0].metrics["coherence"]["truth"]["regions_per_area"]
    assert float(truth["regions_per_mm2"]) == pytest.approx(expected, rel=1e-5)


def test_a_row_a_level(compared: Comparison) -> None:
    rows = read(level_table(compared))
    assert [(r["configuration"], r["level"], r["factor"]) for r in rows[:2]] == [
        ("model.levels=3", "1", "2"),
        ("model.levels=3", "2", "1"),
    ]
    assert len(rows) == 6
    assert rows[0]["dice_difference"] == rows[0]["dice_differs"] == ""
    assert float(rows[1]["dice_difference"]) > 0.02
    assert rows[1]["dice_differs"] == "true"
    assert float(rows[1]["regions_per_mm2"]) > 0


def test_a_row_a_level_and_stage_as_executed(compared: Comparison) -> None:
    rows = read(compared.gradients.reset_index())
    assert [(r["level"], r["stage"]) for r in rows[:7]] == [("1", s) for s in (WHOLE_LEVEL, *STAGES)]
    assert len(rows) == 3 * 2 * 7
    early, whole = compared.gradients.loc["model.levels=1"].loc[2].to_numpy()[3]
    row = next(r for r in rows if (r["configuration"], r["level"], r["stage"]) == ("model.levels=1", "2", "bottom"))
    assert float(row["first_third"]) == pytest.approx(early, rel=1e-5)
    assert float(row["all_epochs"]) == pytest.approx(whole, rel=1e-5)


def test_no_row_is_no_text() -> None:
    assert to_csv(pd.DataFrame({"a": []})) == ""


def test_truth_of_a_reference_tested_on_different_mosaics_is_left_out(compared: Comparison) -> None:
    odd = replace(compared, reference=replace(compared.reference, remark="its jobs differ"))
    assert result_table(compared)["configuration"].iloc[-1] == "truth"
    assert result_table(odd)["configuration"].iloc[-1] != "truth"
