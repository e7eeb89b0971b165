"""The pictures of the reader's page: one mosaic of a phantom, wide and narrow, in a real Chromium.

Writes wide.jpg and narrow.jpg into --out. Usage: python -m experiments.review.shoot
"""

import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from playwright.sync_api import sync_playwright

from experiments.script import rcm_cascade, run

SIZES: Final = {"wide": (1400, 900), "narrow": (400, 800)}
CHROMIUM: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]


def main(
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("experiments/review"),
    chromium: Annotated[str, typer.Option(metavar="FILE")] = "/usr/bin/chromium",
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rcm_cascade("phantom", root / "p", "--mosaics", 1, "--size-mm", 6, 6, "--pixel-size", 2.5, "--seed", 3)
        rcm_cascade("annotate", root / "p" / "mosaics", "--out", root / "o", "--page", "--backend", "torch")
        (page,) = (root / "o").glob("*.page/index.html")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
            for name, (width, height) in SIZES.items():
                view = browser.new_page(viewport={"width": width, "height": height})
                view.goto(page.as_uri())
                if name == "wide":
                    view.keyboard.press("ArrowRight")
                    view.keyboard.press("ArrowRight")
                view.wait_for_timeout(2000)
                view.screenshot(path=out / f"{name}.jpg", type="jpeg", quality=80)
            browser.close()


if __name__ == "__main__":
    run(main)
