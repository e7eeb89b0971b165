from dataclasses import replace

import pytest

from rcm_cascade.evaluate.paired import Difference
from rcm_cascade.report.cells import NO_INTERVAL, Rows, describe_spread, duration, tenths
from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.parts import percent
from rcm_cascade.report.results import ConfigurationResult
from rcm_cascade.report.spread import Spread


@pytest.fixture
def rows(compared: Comparison) -> Rows:
    return Rows(compared, {c.label: "#000000" for c in compared.configurations})


def test_durations_are_in_the_unit_that_suits() -> None:
    assert [duration(s) for s in (12.4, 119.4, 150, 7000, 9000)] == ["12 s", "119 s", "2.5 min", "116.7 min", "2.5 h"]


def test_spreads_are_written_as_far_as_they_are_known() -> None:
    assert describe_spread(Spread(0.52, 0.11, 2), tenths) == "0.5 ± 0.1"
    assert describe_spread(Spread(0.123, None, 1), percent) == "12.3 %"
    assert describe_spread(Spread(None, None, 0), tenths) == "–"


def test_each_table_has_a_row_a_configuration(rows: Rows, compared: Comparison) -> None:
    means = rows.means()
    assert [row["reference"] for row in means] == [True, False, False]
    assert means[0]["cells"][0]["difference"] == ""
    worse = means[2]["cells"][0]
    assert worse["told"] is True
    assert worse["difference"].startswith("−0.")
    assert " to −0." in worse["interval"]
    assert [len(row["cells"]) for row in rows.classes("dice")] == [7, 7, 7]
    assert [row["label"] for row in rows.levels()[:3]] == ["model.levels=3", "", "model.levels=2"]
    assert rows.costs()[0]["cells"] == ["1\u2009300", "12.5", "6.0 min ± 0 s", "5.0 min ± 0 s", "5.0 ± 0.0", "3 of 3"]
    assert rows.costs()[2]["cells"][3:] == ["–", "–", "0 of 3"]
    regions = rows.regions()
    assert (regions["unit"], regions["small"], len(regions["rows"]), len(regions["truth"])) == ("mm²", "0.05 mm²", 3, 3)
    denser, _, smaller = regions["rows"][2]["cells"]
    assert (denser["told"], denser["difference"][0], denser["difference"][-2]) == (True, "+", ".")
    difference = compared.configurations[2].region_differences["small_area_share"].value
    assert smaller["difference"] == f"{100 * (difference or 0):+.1f} pp"
    assert rows.calibration() == []


def test_calibration_is_shown_where_it_was_measured(compared: Comparison) -> None:
    measured = replace(compared.reference, calibration_error=Spread(0.05, 0.01, 3))
    comparison = replace(compared, reference=measured, configurations=(measured, *compared.compared))
    (row,) = Rows(comparison, {c.label: "#000000" for c in compared.configurations}).calibration()
    assert row["cells"] == ["0.050 ± 0.010", "–"]


def rows_with(compared: Comparison, changed: ConfigurationResult) -> Rows:
    """Of the sweep with another second configuration."""
    reference, _, worse = compared.configurations
    comparison = replace(compared, configurations=(reference, changed, worse))
    return Rows(comparison, {c.label: "#000000" for c in comparison.configurations})


def test_a_difference_without_an_interval_is_marked(compared: Comparison) -> None:
    same = compared.configurations[1]
    differences = {
        m: (Difference(0.1, None, 3), Difference(None, None, 0), *d[2:]) for m, d in same.differences.items()
    }
    _, row, _ = rows_with(compared, replace(same, differences=differences)).classes("dice")
    few, none, other = row["cells"][:3]
    assert (few["difference"], few["interval"], few["told"]) == ("+0.100", NO_INTERVAL, None)
    assert (none["difference"], none["interval"]) == ("–", "")
    assert " to " in other["interval"]


def test_seeds_compared_are_told_where_they_are_fewer(compared: Comparison) -> None:
    changed = replace(compared.configurations[1], seeds_compared=2)
    assert [row["seeds"] for row in rows_with(compared, changed).means()] == ["3", "3, 2 compared", "3"]


def test_what_was_tested_on_other_mosaics_says_on_how_many(compared: Comparison) -> None:
    same = compared.configurations[1]
    fewer = tuple(replace(o, mosaics=o.mosaics[1:]) for o in same.outcomes)
    other = replace(same, outcomes=fewer, differences={}, remark="tested on others", seeds_compared=0)
    rows = rows_with(compared, other)
    assert [row["remark"] for row in rows.means()] == ["", "tested on others; 7 test mosaics of 6 patients", ""]
    assert rows.regions()["truth"] is not None
    odd = replace(compared.reference, remark="its jobs differ")
    assert Rows(replace(compared, reference=odd), rows.colors).regions()["truth"] is None
