import base64
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.evaluate import metrics
from rcm_cascade.evaluate.calibration import LogitSample, measure_calibration
from rcm_cascade.evaluate.coherence import REGION_NUMBERS
from rcm_cascade.evaluate.metrics import METRICS, Metric
from rcm_cascade.evaluate.results import LevelResult, MosaicResult
from rcm_cascade.evaluate.summary import summarise, write_metrics
from rcm_cascade.files import write_json
from rcm_cascade.pictures.comparison import comparison
from rcm_cascade.pictures.png import save_png
from rcm_cascade.report.compare import Comparison, LeftOut
from rcm_cascade.report.outcomes import Number
from rcm_cascade.report.pages import (
    NO_INTERVAL,
    NOT_DIFFERENT,
    render_sweep,
    show,
    write_evaluation_page,
    write_run_page,
)
from rcm_cascade.report.sweep import galleries, write_report
from rcm_cascade.report.tables import format_table
from rcm_cascade.report.text import SYNTHETIC_NOTE
from rcm_cascade.runs.score import comparison_path
from tests.conftest import THREE
from tests.report.factories import make_sweep

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
SECTIONS = ["Averages", "What each class is taken for", "Coherence", "Each level’s own map", "Calibration"]
LONG = "a_path/" + "without_any_space_" * 12
EVIL = '<script>alert("x")</script> & co'


class Page(HTMLParser):
    """Collects what a page links to and says."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str | None] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src":
                self.sources.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name == "alt":
                self.alts.append(value)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.get_starttag_text() == "<h3>" and data.strip():
            self.headings.append(data)


def check_self_contained(page: Page) -> None:
    assert "script" not in page.tags
    assert page.sources
    assert len(page.alts) == len(page.sources)
    assert all(page.alts)
    assert all(source.startswith("data:image/") for source in page.sources)
    fragments = [link[1:] for link in page.links if not link.startswith("data:")]
    assert fragments
    assert all(link.startswith("#") for link in page.links if not link.startswith("data:"))
    assert set(fragments) <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def picture(seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    image, labels = rng.integers(0, 256, (2, 90, 140)).astype(np.uint8)
    labels %= 6
    return comparison(
        image, np.where(image < 90, 255, labels).astype(np.uint8), labels, RCM_CLASSES, 4.0, "mosaics/1.tif"
    )


def calibrated(temperature: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    sample = LogitSample(rng.normal(0, 2, (12_345, 6)).astype(np.float32), rng.integers(0, 6, 12_345).astype(np.uint8))
    return measure_calibration(sample, temperature)


def write_evaluation(
    folder: Path,
    results: Sequence[MosaicResult],
    classes: ClassTable = RCM_CLASSES,
    pictures: Sequence[int] = (),
    synthetic: bool = False,
    calibration: Mapping[str, Any] | None = None,
    **changes: object,
) -> Path:
    """What scoring leaves in a folder, changed, and its page."""
    summary = summarise(results, classes, synthetic=synthetic, calibration=calibration, draws=50)
    for key in [key for key, value in changes.items() if value is ...]:
        del summary[key]
    write_metrics(folder, summary | {k: v for k, v in changes.items() if v is not ...}, results, classes)
    for number in pictures:
        save_png(picture(number), comparison_path(folder, number, results[number].mosaic))
    return write_evaluation_page(folder)


def levelled(results: Sequence[MosaicResult]) -> list[MosaicResult]:
    """Level 1 gives what the truth is taken for, level 2 the final map."""
    return [
        replace(
            r, levels=(LevelResult(2, r.confusion.T, r.truth_coherence), LevelResult(1, r.confusion, r.truth_coherence))
        )
        for r in results
    ]


@pytest.fixture(scope="module")
def evaluation(results: list[MosaicResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = {"checkpoint": f"{LONG}/best.ckpt", "split": "test", "working pixel size": "4 µm"}
    folder = tmp_path_factory.mktemp("pages") / "evaluation"
    return write_evaluation(
        folder,
        levelled(results),
        pictures=[1],
        synthetic=True,
        calibration=calibrated(3.0),
        title=f"Evaluation of {LONG}",
        facts=facts,
    )


def test_an_evaluation_has_a_page_that_needs_no_other_and_tables(evaluation: Path) -> None:
    assert sorted(p.name for p in evaluation.parent.iterdir()) == [
        "comparisons",
        "confusion.png",
        "confusions.json",
        "metrics.json",
        "per_class.csv",
        "per_class.tex",
        "per_mosaic.csv",
        "per_patient.csv",
        "report.html",
    ]
    page = Page(evaluation)
    check_self_contained(page)
    assert "Phantom (synthetic) mosaics: no statement about patients" in page.text
    for words in ("nested", "7 mosaics of 6 patients; 95 % intervals", "Kose et al. 2018", "mosaics/6.tif", "per mm²"):
        assert words in page.text
    assert page.headings == SECTIONS
    for words in ("n = 7", "level 1", "final map", "at temperature 3.00", "Guo et al. 2017", "12 345 labelled"):
        assert words in page.text
    vector = [source for source in page.sources if source.startswith("data:image/svg")]
    assert len(vector) == 1
    ET.fromstring(base64.b64decode(vector[0].split(",")[1]))
    for source in page.sources:
        if source not in vector:
            Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).load()


def table(page: Path, caption: str) -> list[list[str]]:
    """The cells of the table of a page whose caption holds these words, row by row."""
    html = next(t for t in re.findall(r"<table.*?</table>", page.read_text(), flags=re.S) if caption in t)
    rows = re.findall(r"<tr.*?</tr>", html, flags=re.S)
    return [
        [" ".join(re.sub("<[^>]*>", " ", c).split()) for c in re.findall(r"<t[hd].*?</t[hd]>", row, flags=re.S)]
        for row in rows
    ]


def test_the_tables_of_an_evaluation(evaluation: Path, results: list[MosaicResult]) -> None:
    summary = summarise(levelled(results), RCM_CLASSES, draws=50)
    _, pooled, mosaics, patients = table(evaluation, "averaged three ways")
    assert pooled[1] == f"{summary['mean']['sensitivity']:.2f}"
    spread = summary["averages"]["per_mosaic"]["dice"]
    assert mosaics[3] == f"{spread['mean']:.2f} ± {spread['sd']:.2f} n = 7"
    assert patients[2].endswith("n = 6")
    heads, first, second, final, truth = table(evaluation, "The maps of the levels")
    assert heads[5:] == ["regions per mm²", "share of area in small regions (under 0.05 mm²)"]
    assert [row[:2] for row in (first, second, final, truth)] == [
        ["level 1", "2×"],
        ["level 2", "1×"],
        ["final map", ""],
        ["truth", ""],
    ]
    assert first[2:5] != second[2:5] == final[2:5]
    assert truth[2:5] == ["", "", ""]
    assert first[5] == truth[5] != final[5]
    _, before, after = table(evaluation, "expected calibration error")
    assert before[:2] == ["as trained", f"{calibrated(3.0)['ece']:.3f}"]
    assert after[::2] == ["at temperature 3.00", f"{calibrated(3.0)['nll_at_temperature']:.3f}"]
    rows = table(evaluation, "two classes that most")
    assert all(row[4] != "–" != row[5] for row in rows[1:])


def test_what_classes_are_taken_for(tmp_path: Path) -> None:
    matrix = np.array([[60, 10, 30], [0, 50, 0], [0, 0, 0]])
    page = write_evaluation(tmp_path, [MosaicResult("m", "p", "", None, matrix)], THREE)
    _, first, second, third = table(page, "two classes that most")
    assert first == ["a", "100", "1", "60.0 %", "c 30.0 %", "b 10.0 %"]
    assert second == ["b", "50", "1", "100.0 %", "–", "–"]
    assert third == ["c", "0", "0", "–", "–", "–"]
    assert "n = 1" in Page(page).text
    assert "± –" not in Page(page).text


def test_levels_without_regions_and_without_a_fitted_temperature(results: list[MosaicResult], tmp_path: Path) -> None:
    bare = [replace(r, levels=tuple(replace(v, coherence=None) for v in r.levels)) for r in levelled(results)]
    page = write_evaluation(tmp_path, bare, calibration=calibrated(1.0))
    assert table(page, "The maps of the levels")[1][5:] == ["–", "–"]
    assert len(table(page, "expected calibration error")) == 2
    assert "No temperature was fitted" in Page(page).text


def test_an_evaluation_of_an_older_version_is_still_shown(results: list[MosaicResult], tmp_path: Path) -> None:
    page = write_evaluation(tmp_path, results, averages=..., levels=..., calibration=None)
    read = Page(page)
    check_self_contained(read)
    assert read.headings == ["What each class is taken for", "Coherence"]
    summary = summarise(results, RCM_CLASSES, draws=50)
    for row in summary["classes"]:
        del row["patients"], row["color"]
    page = write_evaluation(tmp_path, results, calibration=None)
    write_json(tmp_path / "metrics.json", summary)
    assert table(write_evaluation_page(tmp_path), "two classes that most")[1][2] == "–"
    assert RCM_CLASSES.classes[3].color in page.read_text()


def test_no_labelled_pixel_and_no_second_level_need_no_table(results: list[MosaicResult], tmp_path: Path) -> None:
    nothing = measure_calibration(LogitSample(np.zeros((0, 6), np.float32), np.zeros(0, np.uint8)), 1.0)
    single = [replace(r, levels=r.levels[1:]) for r in levelled(results)]
    page = Page(write_evaluation(tmp_path, single, calibration=nothing))
    assert page.headings == SECTIONS[:3]


def test_real_mosaics_are_not_called_phantoms(results: list[MosaicResult], tmp_path: Path) -> None:
    page = Page(write_evaluation(tmp_path, results))
    check_self_contained(page)
    assert SYNTHETIC_NOTE not in page.text.lower()
    assert "Pictures" not in page.text


def test_other_classes_have_no_paper_row_and_nothing_is_taken_for_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> & "co"'
    classes = ClassTable((LabelClass(0, evil, "#000000"), LabelClass(1, "b", "#ffffff")))
    result = MosaicResult(evil, evil, evil, None, np.array([[9, 1], [0, 0]]))
    page = Page(write_evaluation(tmp_path, [result], classes, title=evil, facts={evil: evil}))
    check_self_contained(page)
    assert page.text.count(evil) >= 7
    assert "Kose" not in page.text
    assert "paper’s" not in page.text


@pytest.fixture(scope="module")
def run(finished_run: Path, results: list[MosaicResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an evaluation."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(finished_run, folder)
    write_evaluation(
        folder / "evaluation", levelled(results), pictures=[1], synthetic=True, calibration=calibrated(3.0)
    )
    return folder


def test_the_page_of_a_run_tells_the_whole_run_and_can_be_written_anew(run: Path) -> None:
    (run / "report.html").unlink(missing_ok=True)
    (run / "validation" / "report.html").unlink(missing_ok=True)
    page = Page(write_run_page(run))
    check_self_contained(page)
    for words in ("Training loss", "before and after", "Evaluation on the test split", "Validation mosaics"):
        assert words in page.text
    assert page.headings[:5] == SECTIONS
    assert (run / "validation" / "report.html").is_file()
    before = (run / "report.html").read_bytes()
    assert write_run_page(run).read_bytes() == before


def test_training_time_is_without_validation(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "metrics.csv").write_text("epoch,step,time/epoch_s,time/validation_s\n0,1,700,100\n1,2,700,100\n")
    assert "training time, without validation20.0 min" in Page(write_run_page(folder)).text


def test_a_run_without_history_batch_and_results_still_reports(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for name in ("evaluation", "validation"):
        shutil.rmtree(folder / name)
    (folder / "batch.png").unlink(missing_ok=True)
    (folder / "metrics.csv").write_text("epoch,step\n")
    page = Page(write_run_page(folder))
    assert page.sources == []
    assert "Kose" not in page.text
    assert {link[1:] for link in page.links if link.startswith("#")} == {"facts", "network"}


def test_a_metric_is_one_entry(tmp_path: Path, results: list[MosaicResult], monkeypatch: pytest.MonkeyPatch) -> None:
    def precision(matrices: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return np.diagonal(matrices, axis1=-2, axis2=-1) / matrices.sum(axis=-2)

    monkeypatch.setitem(
        cast(dict[str, Metric], metrics.METRICS), "precision", Metric("precision", "Precision", precision)
    )
    assert "precision" in METRICS
    page = write_evaluation(tmp_path / "evaluation", levelled(results))
    summary = yaml.safe_load((tmp_path / "evaluation" / "metrics.json").read_text())
    matrix = np.array(summary["confusion"])
    assert [c["precision"] for c in summary["classes"]] == pytest.approx(precision(matrix).tolist())
    assert len(summary["classes"][3]["precision_ci"]) == len(summary["mean"]["precision_ci"]) == 2
    assert set(summary["averages"]["per_patient"]["precision"]) == {"mean", "sd", "n"}
    assert "precision" in summary["levels"][0]["mean"]
    for name, column in (
        ("per_mosaic.csv", "precision_ring"),
        ("per_patient.csv", "mean_precision"),
        ("per_class.csv", "precision_low"),
    ):
        assert column in (tmp_path / "evaluation" / name).read_text().splitlines()[0].split(",")
    assert "Precision" in (tmp_path / "evaluation" / "per_class.tex").read_text()
    for caption in ("Numbers of each class", "averaged three ways", "The maps of the levels", "Each mosaic by itself"):
        assert any("Precision" in head for head in table(page, caption)[0]), caption
    console = Console(width=120)
    with console.capture() as capture:
        console.print(format_table(summary, RCM_CLASSES))
    assert "Precision" in capture.get()

    folder = make_sweep(tmp_path / "levels")
    comparison = write_report(folder, metric="precision")
    assert comparison.number(comparison.compared[0], "precision", "ring").difference is not None
    for name, column in (("results.csv", "precision_difference_low"), ("levels.csv", "precision_mean")):
        assert column in (folder / name).read_text().splitlines()[0].split(",")
    assert "Precision" in (folder / "table.tex").read_text()
    text = Page(folder / "report.html").text
    assert "by the mean Precision over the classes" in text
    assert "Precision by class" in text


@pytest.fixture(scope="module")
def page(compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text(render_sweep(compared, list(galleries(compared)), "sensitivity"))
    return path


def test_the_page_needs_no_other_and_says_what_was_found(page: Path) -> None:
    read = Page(page)
    check_self_contained(read)
    assert read.text.index(SYNTHETIC_NOTE.capitalize()) < read.text.index("Different from zero")
    for words in (
        "model.levels=1: −0.",
        f"{NOT_DIFFERENT.capitalize()} (the interval holds it), largest first: model.levels=2: ",
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


def test_the_same_sweep_gives_the_same_bytes(page: Path, compared: Comparison) -> None:
    again = render_sweep(compared, list(galleries(compared)), "sensitivity")
    assert again == page.read_text()


def test_other_metric_jobs_left_out_and_nothing_taken_for_markup(compared: Comparison, tmp_path: Path) -> None:
    job = compared.reference.outcomes[0].job
    left = LeftOut(replace(job, name=EVIL), EVIL, "failed", EVIL)
    comparison = replace(compared, left_out=(left,), missing=(EVIL,))
    (tmp_path / "p.html").write_text(render_sweep(comparison, [], "dice"))
    read = Page(tmp_path / "p.html")
    check_self_contained(read)
    assert read.text.count(EVIL) == 4
    assert "by the mean Dice over the classes" in read.text
    assert "Pictures" not in read.text


def changed(comparison: Comparison, label: str, metrics: Sequence[str], number: Number) -> Comparison:
    """The same with another number of a configuration."""
    numbers: Any = comparison.numbers.copy()
    for metric in metrics:
        numbers.loc[(label, 0, "all", metric)] = list(number)
    return replace(comparison, numbers=numbers)


def test_a_single_configuration_without_curves_and_regions_is_shown(compared: Comparison, tmp_path: Path) -> None:
    outcomes = tuple(
        replace(o, history=[], metrics=dict(o.metrics) | {"coherence": None, "levels": []})
        for o in compared.reference.outcomes
    )
    bare = replace(compared.reference, outcomes=outcomes)
    comparison = changed(compared, bare.label, REGION_NUMBERS, Number())
    comparison = replace(comparison, configurations=(bare,), reference=bare, score=None)
    (tmp_path / "p.html").write_text(render_sweep(comparison, [], "sensitivity"))
    read = Page(tmp_path / "p.html")
    check_self_contained(read)
    assert "there is nothing to compare" in read.text
    assert "Nothing was validated" in read.text
    for heading in ("Coherence", "Learning", "Gradients", "Levels"):
        assert heading not in read.text


def test_networks_of_one_seed_stand_under_their_own_heading(compared: Comparison, tmp_path: Path) -> None:
    configurations = tuple(replace(c, seeds_compared=min(1, c.seeds_compared)) for c in compared.configurations)
    (tmp_path / "p.html").write_text(render_sweep(replace(compared, configurations=configurations), [], "dice"))
    text = Page(tmp_path / "p.html").text
    assert "Between these two trained networks only, as one seed of each was compared" in text
    assert "Different from zero (the interval leaves it out)" not in text
    assert "3, 1 compared" in text


def test_what_was_tested_on_other_mosaics_is_in_no_figure(compared: Comparison, tmp_path: Path) -> None:
    other = replace(compared.configurations[1], seeds_compared=0, remark="tested on others")
    comparison = replace(compared, configurations=(compared.reference, other, compared.configurations[2]))
    (tmp_path / "p.html").write_text(render_sweep(comparison, [], "dice"))
    read = Page(tmp_path / "p.html")
    assert "tested on others; 8 test mosaics of 7 patients" in read.text
    svgs = [base64.b64decode(s.split(",")[1]).decode() for s in read.sources if s.startswith("data:image/svg")]
    assert len(svgs) == 5
    assert all("model.levels=1" in svg for svg in svgs)
    assert not any("model.levels=2" in svg for svg in svgs)
    assert "mean of 3 seeds, of 8 test mosaics of 7 patients" in read.text


def test_calibration_is_said_to_be_of_a_sample(compared: Comparison, tmp_path: Path) -> None:
    comparison = changed(compared, compared.reference.label, ["ece"], Number(0.05, 0.01, 3))
    (tmp_path / "p.html").write_text(render_sweep(comparison, [], "dice"))
    assert table(tmp_path / "p.html", "Expected calibration error")[1][1:] == [
        "0.050 ± 0.010",
        "–",
    ]
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


def test_each_table_of_a_sweep_has_a_row_a_configuration(page: Path, compared: Comparison) -> None:
    _, reference, same, worse = table(page, "Means over the classes, of")
    assert [row[0] for row in (reference, same, worse)] == [
        "model.levels=3 reference",
        "model.levels=2",
        "model.levels=1",
    ]
    assert [row[1] for row in (reference, same, worse)] == ["3", "3", "3"]
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", reference[2])
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3} −0\.\d{3} −0\.\d{3} to −0\.\d{3}", worse[2])
    assert [len(row) for row in table(page, "Dice by class")] == [8] * 4
    levels = table(page, "enlarged to the mosaic’s grid, on")
    assert [row[:3] for row in levels[1:4]] == [
        ["model.levels=3 reference", "1", "2×"],
        ["", "2", "1×"],
        ["model.levels=2", "1", "2×"],
    ]
    costs = table(page, "Size, operations")
    assert costs[1][1:] == ["1 300", "12.5", "6.0 min ± 0 s", "5.0 min ± 0 s", "5.0 ± 0.0", "3 of 3"]
    assert costs[3][4:] == ["–", "–", "0 of 3"]
    truth, *regions = table(page, "Connected regions of one class")[1:]
    assert truth[0] == "truth"
    assert len(regions) == 3
    difference = compared.number(compared.configurations[2], "small_area_share", "all").difference
    assert difference is not None
    assert f"{100 * difference:+.1f} pp" in regions[2][3]


def test_a_difference_without_an_interval_is_marked() -> None:
    few, none = (show(Number(0.5, n=1, difference=d, patients=n), "dice") for d, n in ((0.1, 3), (None, 0)))
    assert few == {"text": "0.500", "difference": "+0.100", "interval": NO_INTERVAL, "differs": None}
    assert (none["difference"], none["interval"]) == ("–", "")
    assert show(Number(), "train_seconds")["text"] == "–"
    assert show(Number(0.123, None, 1), "small_area_share")["text"] == "12.3 %"
    assert show(Number(0.52, 0.11, 2), "epochs_to_score")["text"] == "0.5 ± 0.1"


def test_seeds_compared_are_told_where_they_are_fewer(compared: Comparison, tmp_path: Path) -> None:
    reference, same, worse = compared.configurations
    configurations = (reference, replace(same, seeds_compared=2), worse)
    (tmp_path / "p.html").write_text(render_sweep(replace(compared, configurations=configurations), [], "dice"))
    rows = table(tmp_path / "p.html", "Means over the classes, of")[1:]
    assert [row[1] for row in rows] == ["3", "3, 2 compared", "3"]


PROBE = """<script>addEventListener("load", () => {
  const page = document.documentElement, wide = [];
  for (const e of document.querySelectorAll("body *"))
    if (!e.closest(".wide") && e.getBoundingClientRect().right > page.clientWidth + 1) wide.push(e.tagName);
  const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;
  const numbers = [page.scrollWidth - page.clientWidth, wide.length, broken, page.scrollHeight];
  page.setAttribute("data-probe", numbers.join(" "));
});</script>"""


def render(page: Path, folder: Path, width: int) -> dict[str, Any]:
    """Opens a page in a browser and reports what does not fit, does not show, or is complained of."""
    assert BROWSER is not None
    probed = folder / f"probed_{width}.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},2000",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-probe="(\S+) (\S+) (\S+) (\S+)"', done.stdout)
    assert found is not None, done.stderr
    overflow, wide, broken, height = (int(float(value)) for value in found.groups())
    return {
        "overflow": overflow,
        "wide": wide,
        "broken": broken,
        "height": height,
        "console": [line for line in done.stderr.splitlines() if "CONSOLE" in line],
    }


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser to render in: none of {', '.join(BROWSERS)} is installed")
def test_pages_render_without_complaint_and_nothing_overflows(evaluation: Path, run: Path, tmp_path: Path) -> None:
    for path in (evaluation, write_run_page(run)):
        for width in (1400, 900, 520):
            seen = render(path, tmp_path, width)
            assert seen.pop("height") > 1500
            assert seen == {"overflow": 0, "wide": 0, "broken": 0, "console": []}, (path.name, width)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason=f"no browser to render in: none of {', '.join(BROWSERS)} is installed")
def test_the_probe_sees_what_is_wrong_with_a_page(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><html><body><p style="width: 3000px">x</p><img src="data:image/png;base64,AAAA">'
        "<script>console.error('no')</script></body></html>"
    )
    seen = render(page, tmp_path, 900)
    assert seen["overflow"] > 1000
    assert seen["wide"] == 1
    assert seen["broken"] == 1
    assert len(seen["console"]) == 1
