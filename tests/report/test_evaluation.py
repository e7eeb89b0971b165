import base64
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.evaluate.calibration import Sample, measure_calibration
from rcm_cascade.evaluate.metrics import MosaicResult, summarise
from rcm_cascade.evaluate.results import LevelResult
from rcm_cascade.report.evaluation import Section, comparison, write_evaluation, write_run_report
from rcm_cascade.report.table import SYNTHETIC_NOTE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
SECTIONS = ["Averages", "What each class is taken for", "Coherence", "Each level’s own map", "Calibration"]
LONG = "a_path/" + "without_any_space_" * 12


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


def write_both(folder: Path, results: list[MosaicResult]) -> tuple[Path, Path]:
    facts = {"checkpoint": f"{LONG}/best.ckpt", "split": "test", "working pixel size": "4 µm"}
    rng = np.random.default_rng(0)
    sample = Sample(rng.normal(0, 2, (5000, 6)).astype(np.float32), rng.integers(0, 6, 5000).astype(np.uint8))
    coarse, fine = (4, results[0].truth_coherence), (1, results[0].prediction_coherence)
    summary = write_evaluation(
        folder / "evaluation",
        results=[replace(r, levels=tuple(LevelResult(f, r.confusion, c) for f, c in (coarse, fine))) for r in results],
        classes=RCM_CLASSES,
        comparisons=[("mosaics/1.tif, patient p1", picture())],
        title=f"Evaluation of {LONG}",
        facts=facts,
        synthetic=True,
        calibration=measure_calibration(sample, 3.0),
    )
    history: list[dict[str, float | str | None]] = [
        {"step": i, "train/loss": 9.0 / (i + 1), "train/loss_level1": 8.0 / (i + 1), "train/grad_norm_level1": 1.0 + i}
        for i in range(20)
    ]
    history.append({"step": 19, "val/mean_sensitivity": 0.6, "val/sensitivity_ring": 0.5})
    run = write_run_report(
        folder / "run",
        title="demo",
        facts=facts,
        architecture=[{"level": 1, "depth": 2, "parameters": 225_000, "GFLOP/MP": 6.7}],
        history=history,
        batch_picture=picture(1),
        synthetic=True,
        sections=[
            Section("Validation", summarise(results[:3], RCM_CLASSES, synthetic=True), RCM_CLASSES, [], "Three."),
            Section("Test", summary, RCM_CLASSES, [("mosaics/2.tif", picture(2))]),
            Section("Remark", None, RCM_CLASSES, text="There was no time for more."),
        ],
    )
    return folder / "evaluation" / "report.html", run


@pytest.fixture(scope="module")
def pages(results: list[MosaicResult], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_both(tmp_path_factory.mktemp("pages"), results)


def test_evaluation_writes_its_files_and_a_page_that_needs_no_other(pages: tuple[Path, Path]) -> None:
    path, _ = pages
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "confusion.png",
        "confusions.json",
        "metrics.json",
        "per_mosaic.csv",
        "per_patient.csv",
        "report.html",
    ]
    page = Page(path)
    check_self_contained(page)
    assert "Phantom (synthetic) mosaics: no statement about patients" in page.text
    for words in ("nested", "7 mosaics of 6 patients; 95 % intervals", "Kose et al. 2018", "mosaics/6.tif", "per mm²"):
        assert words in page.text
    assert page.headings == SECTIONS
    for words in ("n = 7", "level 1", "final map", "at temperature 3.00", "Guo et al. 2017"):
        assert words in page.text
    vector = [source for source in page.sources if source.startswith("data:image/svg")]
    assert len(vector) == 1
    ET.fromstring(base64.b64decode(vector[0].split(",")[1]))
    for source in page.sources:
        if source not in vector:
            Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).load()


def test_run_report_tells_the_whole_run(pages: tuple[Path, Path]) -> None:
    _, path = pages
    page = Page(path)
    check_self_contained(page)
    for words in (
        "225 000",
        "6.7",
        "There was no time",
        "no intervals, because",
        "Training loss",
        "before and after",
    ):
        assert words in page.text
    assert page.headings == [*SECTIONS[:3], *SECTIONS]  # validation was measured less fully
    assert sum(source.startswith("data:image/svg") for source in page.sources) == 4  # three curves, reliability
    assert sum(source.startswith("data:image/png") for source in page.sources) == 4  # batch, two confusions, a mosaic
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_an_evaluation_of_an_older_version_is_still_shown(results: list[MosaicResult], tmp_path: Path) -> None:
    summary = summarise(results, RCM_CLASSES)
    for key in ("averages", "levels", "calibration"):
        del summary[key]
    path = write_run_report(
        tmp_path,
        title="old",
        facts={},
        architecture=[],
        history=[],
        batch_picture=None,
        sections=[Section("Test", summary, RCM_CLASSES)],
        synthetic=False,
    )
    page = Page(path)
    check_self_contained(page)
    assert page.headings == ["What each class is taken for", "Coherence"]


def test_real_mosaics_are_not_called_phantoms(results: list[MosaicResult], tmp_path: Path) -> None:
    write_evaluation(
        tmp_path, results=results, classes=RCM_CLASSES, comparisons=[], title="Real", facts={"a": "b"}, synthetic=False
    )
    page = Page(tmp_path / "report.html")
    check_self_contained(page)
    assert SYNTHETIC_NOTE not in page.text.lower()
    assert "Pictures" not in page.text


def test_a_run_without_history_batch_and_results_still_reports(tmp_path: Path) -> None:
    path = write_run_report(
        tmp_path,
        title="bare",
        facts={"command": "x"},
        architecture=[],
        history=[],
        batch_picture=None,
        sections=[],
        synthetic=False,
    )
    page = Page(path)
    assert page.sources == []
    assert "Kose" not in page.text
    assert {link[1:] for link in page.links if link.startswith("#")} == {"facts"}


def test_other_classes_have_no_paper_row_and_nothing_is_taken_for_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> & "co"'
    classes = ClassTable((LabelClass(0, evil, "#000000"), LabelClass(1, "b", "#ffffff")))
    result = MosaicResult(evil, evil, evil, None, np.array([[9, 1], [0, 0]]))
    write_evaluation(
        tmp_path,
        results=[result],
        classes=classes,
        comparisons=[(evil, picture())],
        title=evil,
        facts={evil: evil},
        synthetic=False,
    )
    page = Page(tmp_path / "report.html")
    check_self_contained(page)
    assert page.text.count(evil) >= 7
    assert "Kose" not in page.text
    assert "paper’s" not in page.text


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
def test_pages_render_without_complaint_and_nothing_overflows(pages: tuple[Path, Path], tmp_path: Path) -> None:
    for path in pages:
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
