"""Pages for tests: annotated mosaics without a network, and a browser that opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.sync_api import Page, sync_playwright

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.outputs import write_annotation
from rcm_cascade.annotate.wanted import Wanted
from rcm_cascade.review import page
from tests.annotate.annotated import annotated

CHROMIUM: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")


def mosaic(height: int = 900, width: int = 1300, **changed: Any) -> MosaicAnnotation:
    """With all that a page shows."""
    entropy = np.zeros((height, width), np.uint8)
    entropy[:, width // 2 :] = 204
    return annotated(height, width, **{"entropy": entropy, "source_sha256": "cd" * 32} | changed)


def write(out: Path, name: str = "a.tif", **changed: Any) -> Path:
    found = mosaic(**changed)
    write_annotation(out, name, found, wanted=Wanted(entropy=found.entropy is not None))
    return page.write(out, name, found)


@contextmanager
def opened(address: str, width: int = 1400, height: int = 900) -> Iterator[tuple[Page, list[str]]]:
    """A page in a real browser, and what its console says."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        found = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True).new_page()
        said: list[str] = []
        found.on("console", lambda message: said.append(message.text))
        found.on("pageerror", lambda error: said.append(str(error)))
        found.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
        found.goto(address)
        found.wait_for_selector("img.leaflet-tile-loaded")
        yield found, said
        browser.close()
