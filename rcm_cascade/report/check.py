"""The page of `rcm-cascade check`: what is wrong, and every mosaic beside its labels."""

from pathlib import Path

from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.check import Checked
from rcm_cascade.files import write_text
from rcm_cascade.pictures.png import png_data_uri
from rcm_cascade.report.pages import render


def write_check_page(path: Path, root: Path, checked: Checked) -> Path:
    """Writes one HTML file that needs no other.

    Args:
        path: of the page.
        root: of the data set, for the title.
        checked: what was found.
    """
    classes = None if checked.header is None else checked.header.classes
    rows = []
    for seen in checked.mosaics:
        total, entry = int(seen.areas.sum()), seen.entry
        rows.append(
            {
                "mosaic": entry.mosaic,
                "patient": entry.patient if entry.patient_given else "",
                "site": entry.site,
                "split": entry.split or "",
                "pixel_size_um": seen.pixel_size_um,
                "labelled": 1 - seen.areas[UNLABELLED] / total if total else None,
                "areas": [float(area / total) if total else None for area in seen.areas[: len(classes or ())]],
                "image": None if seen.thumbnail is None else png_data_uri(seen.thumbnail),
                "labels": None
                if seen.label_thumbnail is None or classes is None
                else png_data_uri(classes.palette()[seen.label_thumbnail]),
            }
        )
    page = render(
        "check.html",
        title=f"Check of {checked.header.name if checked.header else root.name}",
        synthetic=checked.header is not None and checked.header.synthetic,
        findings=checked.findings,
        classes=classes.classes if classes else [],
        rows=rows,
    )
    write_text(path, page)
    return path
