"""The pages of a folder of annotations, those first that need looking at first."""

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_text
from rcm_cascade.review.page import SUFFIX, environment, is_page

INDEX: Final = "index.html"
GENERATOR: Final = '<meta name="generator" content="rcm_cascade">'


def pages_of(out: Path) -> list[dict[str, Any]]:
    """What the pages in a folder say of their mosaics, that with the largest region to look at first."""
    found = []
    for folder in sorted(out.glob(f"*{SUFFIX}")):
        if is_page(folder):
            text = (folder / "data.js").read_text("utf-8")
            facts = json.loads(text[text.index("=") + 1 :].rstrip().rstrip(";"))
            found.append({**facts, "address": quote(folder.name)})
    return sorted(found, key=lambda page: (-_largest(page), page["stem"]))


def write_index(out: Path) -> Path | None:
    """Writes ``index.html`` over a folder's pages; None: it has none.

    Raises:
        InputError: if there is an index.html of others.
    """
    path, pages = out / INDEX, pages_of(out)
    if not pages:
        return None
    if path.exists() and GENERATOR not in path.read_text("utf-8", "replace")[:2000]:
        raise InputError(f"{path} is not a file of annotate's and would be replaced; choose another folder with --out")
    write_text(path, environment().get_template(INDEX).render(pages=pages))
    return path


def _largest(page: dict[str, Any]) -> float:
    """The area of its largest region, in mm² where that is known."""
    regions = page["regions"]
    return max((r["pixels"] if r["area_mm2"] is None else r["area_mm2"] for r in regions), default=0.0)
