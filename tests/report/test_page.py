import base64
from dataclasses import replace
from pathlib import Path

import pytest

from rcm_cascade.report.comparison import Comparison, LeftOut
from rcm_cascade.report.findings import NOT_TOLD
from rcm_cascade.report.galleries import galleries
from rcm_cascade.report.page import render_page
from rcm_cascade.report.spread import Spread
from rcm_cascade.report.table import SYNTHETIC_NOTE
from tests.report.test_evaluation import BROWSER, BROWSERS, Page, check_self_contained, render
from tests.report.test_galleries import reader

EVIL = '<script>alert("x")</script> & co'


@pytest.fixture(scope="module")
def page(compared: Comparison, sweep_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text(render_page(compared, galleries(compared, reader(sweep_folder)), "sensitivity"))
    return path


def test_the_page_needs_no_other_and_says_what_was_found(page: Path) -> None:
    read = Page(page)
    check_self_contained(read)
    assert read.text.index(SYNTHETIC_NOTE.capitalize()) < read.text.index("Told from zero")
    for words in (
        "model.levels=1: −0.",
        f"{NOT_TOLD.capitalize()} (the interval holds it), largest first: model.levels=2: ",
        "8 test mosaics of 7 patients",
        "percentiles of 2000 resamples",
        "Sensitivity by class",
        "Dice by class",
        "first 0.639 or more",
        "0 of 3",
        "under 0.05 mm²",
        "geometric means over epochs and seeds",
        "The worst test mosaic",
        "model.levels=2, mean of 3 seeds",
        "non-lesion 7 patients",
        "×: no interval, as the number is defined in fewer than 5 patients",
        "that is no proof that there is none",
    ):
        assert words in read.text, words
    assert sum(source.startswith("data:image/svg") for source in read.sources) == 5
    assert sum(source.startswith("data:image/png") for source in read.sources) == 3 + 2 * 3
    assert "Jobs without a result" not in read.text
    assert "Calibration" not in read.text


def test_the_same_sweep_gives_the_same_bytes(page: Path, compared: Comparison, sweep_folder: Path) -> None:
    again = render_page(compared, galleries(compared, reader(sweep_folder)), "sensitivity")
    assert again == page.read_text()


def test_other_metric_jobs_left_out_and_nothing_taken_for_markup(compared: Comparison, tmp_path: Path) -> None:
    job = compared.reference.outcomes[0].job
    left = LeftOut(replace(job, name=EVIL), EVIL, "failed", EVIL)
    comparison = replace(compared, left_out=(left,), missing=(EVIL,))
    (tmp_path / "p.html").write_text(render_page(comparison, [], "dice"))
    read = Page(tmp_path / "p.html")
    check_self_contained(read)
    assert read.text.count(EVIL) == 4
    assert "by the mean Dice over the classes" in read.text
    assert "Pictures" not in read.text


def test_a_single_configuration_without_curves_and_regions_is_shown(compared: Comparison, tmp_path: Path) -> None:
    outcomes = tuple(
        replace(o, history=[], metrics=dict(o.metrics) | {"coherence": None}) for o in compared.reference.outcomes
    )
    nothing = dict.fromkeys(compared.reference.regions, Spread(None, None, 0))
    bare = replace(compared.reference, outcomes=outcomes, gradients={}, levels=(), regions=nothing)
    comparison = replace(compared, configurations=(bare,), reference=bare, score=None)
    (tmp_path / "p.html").write_text(render_page(comparison, [], "sensitivity"))
    read = Page(tmp_path / "p.html")
    check_self_contained(read)
    assert "there is nothing to compare" in read.text
    assert "Nothing was validated" in read.text
    for heading in ("Coherence", "Learning", "Gradients", "Levels"):
        assert heading not in read.text


def test_networks_of_one_seed_stand_under_their_own_heading(compared: Comparison, tmp_path: Path) -> None:
    configurations = tuple(replace(c, seeds_compared=1 if c.differences else 0) for c in compared.configurations)
    (tmp_path / "p.html").write_text(render_page(replace(compared, configurations=configurations), [], "dice"))
    text = Page(tmp_path / "p.html").text
    assert "Between these two trained networks only, as one seed of each was compared" in text
    assert "Told from zero (the interval leaves it out)" not in text
    assert "3, 1 compared" in text


def test_what_was_tested_on_other_mosaics_is_in_no_figure(compared: Comparison, tmp_path: Path) -> None:
    other = replace(compared.configurations[1], differences={}, region_differences={}, remark="tested on others")
    comparison = replace(compared, configurations=(compared.reference, other, compared.configurations[2]))
    (tmp_path / "p.html").write_text(render_page(comparison, [], "dice"))
    read = Page(tmp_path / "p.html")
    assert "tested on others; 8 test mosaics of 7 patients" in read.text
    svgs = [base64.b64decode(s.split(",")[1]).decode() for s in read.sources if s.startswith("data:image/svg")]
    assert len(svgs) == 5
    assert all("model.levels=1" in svg for svg in svgs)
    assert not any("model.levels=2" in svg for svg in svgs)
    assert "mean of 3 seeds, of 8 test mosaics of 7 patients" in read.text


def test_calibration_is_said_to_be_of_a_sample(compared: Comparison, tmp_path: Path) -> None:
    measured = replace(compared.reference, calibration_error=Spread(0.05, 0.01, 3))
    comparison = replace(compared, reference=measured, configurations=(measured, *compared.compared))
    (tmp_path / "p.html").write_text(render_page(comparison, [], "dice"))
    text = Page(tmp_path / "p.html").text
    assert "over a sample of at most 250 000 labelled pixels a mosaic of 8 test mosaics" in text
    assert "a dash where none was" in text


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser to render in: none of {', '.join(BROWSERS)} is installed")
def test_the_page_renders_without_complaint_and_nothing_overflows(page: Path, tmp_path: Path) -> None:
    for width in (1400, 1200, 900, 520):
        seen = render(page, tmp_path, width)
        assert seen.pop("height") > 3000
        assert seen == {"overflow": 0, "wide": 0, "broken": 0, "console": []}, width
