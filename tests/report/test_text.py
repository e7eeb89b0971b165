from rcm_cascade.report.text import cell, counted, describe_mosaics, duration, interval_text, percent, signed


def test_durations_are_in_the_unit_that_suits() -> None:
    assert [duration(s) for s in (12.4, 119.4, 150, 7000, 9000)] == ["12 s", "119 s", "2.5 min", "116.7 min", "2.5 h"]


def test_numbers_as_tables_show_them() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "–")
    assert (cell(1_234_567), cell(0.123456), cell("x"), cell(True)) == ("1\u2009234\u2009567", "0.123", "x", "True")


def test_numbers_are_written_with_a_true_minus() -> None:
    assert signed(-0.0514) == "−0.051"
    assert signed(0.2, 1) == "+0.2"
    assert signed(None) == "–"
    assert (signed(0.0), signed(-0.0001)) == ("0.000", "−0.000")
    assert interval_text((-0.1, 0.25)) == "−0.100 to +0.250"
    assert interval_text(None) == ""


def test_mosaics_without_a_patient_are_not_called_patients() -> None:
    assert describe_mosaics(9, 7) == "9 mosaics of 7 patients"
    assert describe_mosaics(9, 9, 9, "test mosaic") == "9 test mosaics, no patients given: each counts as one"
    assert describe_mosaics(9, 7, 2) == "9 mosaics of 7 patients, of which 2 are mosaics without a patient given"


def test_nouns_are_counted() -> None:
    assert (counted(1, "seed"), counted(0, "seed"), counted(2, "seed")) == ("1 seed", "0 seeds", "2 seeds")
