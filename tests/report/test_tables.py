import re

import numpy as np
from rich.console import Console

from rcm_cascade.classes import PAPER_SENSITIVITY, RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.evaluate.results import MosaicResult
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.report.tables import format_table, has_paper_row, result_texts, to_frame, to_latex
from rcm_cascade.report.text import SYNTHETIC_NOTE

TWO = ClassTable((LabelClass(0, "a", "#000000"), LabelClass(1, "b", "#ffffff")))


def printed(results: list[MosaicResult], classes: ClassTable, synthetic: bool = False) -> str:
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(format_table(summarise(results, classes, synthetic=synthetic), classes, "Test"))
    return capture.get()


def test_terminal_table_fits_80_columns_and_is_not_cut(results: list[MosaicResult]) -> None:
    text = printed(results, RCM_CLASSES)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for name in {*RCM_CLASSES.names, "mean"} - {"meshwork"}:
        assert re.search(rf"│ {name} +│ +\.\d\d \(\.\d\d–(\.\d\d|1\.00)\) │", text), name
    assert re.search(r"│ meshwork +│ +\.\d\d │", text)
    assert "fewer than 5 patients, so without an interval of sensitivity: meshwork (2)" in " ".join(text.split())
    assert "expanded percentiles" in text
    assert ".72 / .97" in text
    assert "7 mosaics of 6 patients" in " ".join(text.split())
    assert SYNTHETIC_NOTE not in text


def test_phantoms_are_marked_and_missing_intervals_explained(results: list[MosaicResult]) -> None:
    text = " ".join(printed(results[:1], RCM_CLASSES, synthetic=True).split())
    assert SYNTHETIC_NOTE in text
    assert "1 mosaic of 1 patient; no intervals" in text
    assert "(" not in text.split("mean")[-1].split("phantom")[0]


def test_paper_stands_beside_its_own_classes_only(results: list[MosaicResult]) -> None:
    texts = result_texts(summarise(results, RCM_CLASSES), RCM_CLASSES)
    assert [float(text.split(" / ")[0]) for text in texts["paper"][:-1]] == list(PAPER_SENSITIVITY)
    assert texts["paper"].iloc[-1] == "0.72 / 0.95"
    other = [MosaicResult("m", "p", "", None, np.array([[9, 1], [0, 0]]))]
    assert not has_paper_row(TWO)
    assert "paper" not in result_texts(summarise(other, TWO), TWO)
    assert "paper" not in printed(other, TWO)


def test_undefined_is_a_dash() -> None:
    texts = result_texts(summarise([MosaicResult("m", "p", "", None, np.array([[9, 1], [0, 0]]))], TWO), TWO)
    assert texts["sensitivity"].tolist() == ["0.90", "–", "0.90"]
    assert texts["specificity"].tolist() == ["–", "0.90", "–"]


def test_mosaics_without_a_patient_are_not_called_patients() -> None:
    nameless = [MosaicResult(str(i), str(i), "", None, np.array([[9, 1], [0, 3]]), patient_given=False) for i in "ab"]
    assert "2 mosaics, no patients given: each counts as one; no" in " ".join(printed(nameless, TWO).split())


def test_the_same_table_as_csv_and_latex(results: list[MosaicResult]) -> None:
    summary = summarise(results, RCM_CLASSES)
    table = to_frame(summary)
    assert list(table["class"]) == [*RCM_CLASSES.names, "mean"]
    assert table["dice"].tolist() == [c["dice"] for c in summary["classes"]] + [summary["mean"]["dice"]]
    assert [table["specificity_low"][3], table["specificity_high"][3]] == summary["classes"][3]["specificity_ci"]
    assert np.isnan(table["sensitivity_low"][2])  # meshwork, held by too few patients
    latex = to_latex(summary, RCM_CLASSES)
    (row,) = (line for line in latex.splitlines() if line.startswith("ring"))
    low, high = summary["classes"][3]["dice_ci"]
    assert f"{summary['classes'][3]['dice']:.2f} ({low:.2f}--{high:.2f})" in row
    assert row.endswith(r"0.77 / 0.97 \\")
    assert r"\toprule" in latex
    evil = ClassTable((LabelClass(0, "a_b & 5 %", "#000000"), LabelClass(1, "b", "#ffffff")))
    text = to_latex(summarise([MosaicResult("m", "p", "", None, np.array([[9, 1], [0, 0]]))], evil), evil)
    assert r"a\_b \& 5 \%" in text
    assert "& -- &" in text
