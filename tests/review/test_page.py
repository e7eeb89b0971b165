"""The page in a real browser: from disk and served, wide and narrow."""

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from rcm_cascade.annotate.outputs import write_annotation
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.manifest import write_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.pictures.png import save_png
from rcm_cascade.review import page
from rcm_cascade.review.marks import read_marks
from rcm_cascade.review.server import Server
from tests.annotate.annotated import annotated
from tests.review.pages import mosaic, opened, write

pytestmark = pytest.mark.slow  # a real browser

NAME = "VivaBlock #1 <b>&amp;.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    return write(out, NAME, synthetic=True)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    with Server(folder.parent, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def shown(found: Page, layer: str) -> int:
    return found.locator(f'img.leaflet-tile-loaded[src^="{layer}/"]').count()


def cursor_at(found: Page, x: float, y: float) -> str:
    """The read-out over a point of the mosaic, in px."""
    place = found.evaluate(
        "([x, y]) => { const u = 2 ** RCM.levels; const p = RCM_MAP.latLngToContainerPoint([-y / u, x / u]);"
        " const b = document.getElementById('map').getBoundingClientRect(); return [p.x + b.left, p.y + b.top]; }",
        [x, y],
    )
    found.mouse.move(*place)
    return found.locator("#cursor").inner_text()


def test_from_disk_it_opens_zooms_toggles_flies_and_keeps_marks(folder: Path) -> None:
    with opened((folder / "index.html").as_uri()) as (found, said):
        assert found.locator("h1").inner_text() == "VivaBlock #1 <b>&amp;"
        assert "no diagnosis" in found.locator("header").inner_text()
        assert "synthetic" in found.locator("header").inner_text().lower()
        assert "2.60 mm × 1.80 mm" in found.locator("header").inner_text()
        assert shown(found, "image") > 0
        assert shown(found, "class4") > 0
        found.locator('[data-layer="class4"]').uncheck()
        assert shown(found, "class4") == 0
        found.locator('[data-layer="entropy"]').check()
        found.wait_for_selector('img.leaflet-tile-loaded[src^="entropy/"]')
        found.locator("#opacity").fill("80")
        layer = "document.querySelector('img[src^=\"class1/\"]').closest('.leaflet-layer')"
        assert found.evaluate(f"{layer}.style.opacity") == "0.8"
        found.locator("#grid").check()
        assert found.locator("path.leaflet-interactive, .leaflet-overlay-pane path").count() > 6
        assert found.locator(".scale").inner_text().endswith("µm")

        assert cursor_at(found, 50, 800).startswith("non-lesion, 100 % confident, 0.10 mm from the left, 1.60 mm")
        assert cursor_at(found, 1000, 800).startswith("ring, 20 % confident, 2.00 mm")

        before = found.evaluate("RCM_MAP.getZoom()")
        found.keyboard.press("ArrowRight")
        assert found.locator('#regions button[aria-current="true"]').inner_text().startswith("1 nested")
        found.keyboard.press("ArrowRight")
        found.wait_for_timeout(1200)
        assert found.locator('#regions button[aria-current="true"]').inner_text().startswith("2 patternless")
        assert found.evaluate("RCM_MAP.getZoom()") > before
        assert found.evaluate("RCM_MAP.getBounds().contains(RCM_MAP.getCenter())")
        found.keyboard.press("ArrowLeft")
        found.locator("#mark input[value=disagree]").check()
        found.locator("#mark input[name=note]").fill("=too dense")
        found.locator("#mark input[name=note]").blur()
        assert "Kept in this browser" in found.locator("#saved").inner_text()
        found.reload()
        expect(found.locator("#regions .mark").first).to_have_text("disagree")
        with found.expect_download() as download:
            found.locator("#download").click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert (rows[0]["class"], rows[0]["mark"], rows[0]["note"]) == ("nested", "disagree", "'=too dense")
        assert said == []


def test_served_marks_lie_beside_the_page_and_come_back(folder: Path) -> None:
    with served(folder) as server, opened(address_of(server, folder)) as (found, said):
        found.locator("#regions button").nth(1).click()
        found.locator("#mark input[value=agree]").check()
        expect(found.locator("#saved")).to_contain_text("Saved")
        path = folder.parent / "VivaBlock #1 <b>&amp;.marks.csv"
        assert [(row["region"], row["mark"]) for row in read_marks(path)] == [("2", "agree")]
        found.evaluate("localStorage.clear()")
        found.reload()
        expect(found.locator("#regions .mark").nth(1)).to_have_text("agree")
        assert said == []


def address_of(server: Server, folder: Path) -> str:
    return server.address.replace("index.html", f"{quote(folder.name)}/index.html")


def test_the_index_leads_to_the_page(folder: Path) -> None:
    with served(folder) as server, opened(address_of(server, folder)) as (found, said):
        found.goto(server.address)
        found.locator("li a").first.click()
        found.wait_for_selector("img.leaflet-tile-loaded")
        assert found.locator("h1").inner_text() == "VivaBlock #1 <b>&amp;"
        assert said == []


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 800)])
def test_everyone_can_use_it(folder: Path, width: int, height: int) -> None:
    with opened((folder / "index.html").as_uri(), width, height) as (found, _):
        faults = Axe().run(found).response["violations"]
        assert [(f["id"], f["nodes"][0]["html"]) for f in faults if f["impact"] in ("serious", "critical")] == []
        assert found.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        found.keyboard.press("Tab")
        assert found.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_truth_is_shown_where_the_mosaic_has_some(tmp_path: Path) -> None:
    root = tmp_path / "set"
    image = mosaic().mosaic.native_image
    (root / "mosaics").mkdir(parents=True)
    tifffile.imwrite(root / "mosaics" / "a.tif", image)
    (root / "labels").mkdir()
    labels = np.full((900, 1300), 255, np.uint8)
    labels[:, :600] = 4
    save_png(labels, root / "labels" / "a.png")
    write_dataset(root, classes=RCM_CLASSES, rows=[{"mosaic": "mosaics/a.tif", "label": "labels/a.png"}], name="set")
    found = mosaic()
    with_path = replace(found, mosaic=replace(found.mosaic, image_path=root / "mosaics" / "a.tif"))
    write_annotation(tmp_path / "out", "a.tif", with_path, wanted=Wanted())
    folder = page.write(tmp_path / "out", "a.tif", with_path)
    with opened((folder / "index.html").as_uri()) as (opened_page, said):
        opened_page.locator('[data-layer="truth"]').check()
        opened_page.wait_for_selector('img.leaflet-tile-loaded[src^="truth/"]')
        opened_page.locator("#flicker").click()
        expect(opened_page.locator('img[src^="truth/"]')).to_have_count(0)
        expect(opened_page.locator('img[src^="class4/"]')).to_have_count(0)
        opened_page.locator("#flicker").click()
        opened_page.wait_for_selector('img[src^="class4/"]')
        assert said == []


def test_a_mosaic_of_unknown_size_without_regions_has_a_page(tmp_path: Path) -> None:
    labels = np.zeros((300, 400), np.uint8)
    unknown: dict[str, Any] = {"pixel_size_um": None, "pixel_size_source": "unknown", "entropy": None}
    folder = write(tmp_path, height=300, width=400, labels=labels, **unknown)
    with opened((folder / "index.html").as_uri()) as (found, said):
        assert "400 px × 300 px" in found.locator("header").inner_text()
        assert "No region" in found.locator("aside").inner_text()
        assert found.locator('[data-layer="entropy"]').count() == 0
        assert cursor_at(found, 200, 100).startswith("non-lesion, 200 px from the left")
        found.keyboard.press("ArrowRight")
        assert said == []


def test_the_page_flags_what_the_summary_flags(tmp_path: Path) -> None:
    found = mosaic(300, 400)
    share = float((found.labels == 1).mean())
    for name, above in (("low", share / 2), ("high", 0.99)):
        write_annotation(tmp_path, f"{name}.tif", found, wanted=Wanted(reimage_above=above))
        text = (page.write(tmp_path, f"{name}.tif", found) / "index.html").read_text("utf-8")
        assert ("Image it again?" in text) == (name == "low")


def test_a_page_is_replaced_whole_and_that_of_others_stays(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert page.is_finished(tmp_path, "a.tif")
    other = annotated(checkpoint_sha256="ef" * 32)
    write_annotation(tmp_path, "a.tif", other)
    assert not page.is_finished(tmp_path, "a.tif")
    (folder / "stale").write_text("x")
    page.write(tmp_path, "a.tif", other)
    assert page.is_finished(tmp_path, "a.tif")
    assert not (folder / "stale").exists()
    assert not list(tmp_path.glob(".*tmp"))
    (tmp_path / "b.page").mkdir()
    (tmp_path / "b.page" / "mine").write_text("x")
    with pytest.raises(InputError, match="would be replaced"):
        page.write(tmp_path, "b.tif", other)
    assert (tmp_path / "b.page" / "mine").exists()
