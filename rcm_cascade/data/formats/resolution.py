"""The pixel size that a TIFF states: OME metadata, else ImageJ's unit, else the resolution tags, all of one page."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import tifffile

from rcm_cascade.data.formats.base import Stated

_UNIT_UM: Final = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "u": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0,
}  # fmt: skip
_SPELLINGS: Final = {
    r"microns?|micro(?=m)": "u",
    r"\\u00b5|\\u03bc|[\u00b5\u03bc]|[\ufffd?]{1,2}|[âî].|┬╡": "u",  # escaped, and read in a wrong encoding: Âµ, Î¼
    r"\\u00c5|\\u212b|\u212b|ã.?|angstroms?": "å",
    r"inch(es)?": "in",
    r"nano(?=m)": "n",
    r"milli(?=m)": "m",
    r"centi(?=m)": "c",
    r"met(er|re)s?": "m",
}
_OME_NO_LENGTHS: Final = ("pixel", "reference frame")
_TAG_UNIT_UM: Final = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}  # inch and cm; by some programs also mm and µm
_SCREEN_DPI: Final = (72.0, 96.0)
"""Written by default by nearly every program: ignored without a word."""
_PRINTING_DPI: Final = (1440.0, 2400.0, 2880.0, 4800.0, 9600.0)
"""Below 20 µm, which all of 1200 dpi and less are above."""
_COARSEST_UM: Final = 20.0
"""A confocal image of skin with larger pixels would show no cell: a tag that says so is about paper."""


def stated_size(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> Stated:
    """What a TIFF says of the size of a page's pixels.

    Resolution tags in inches or centimetres that a printer or an editor writes do not count, and that is noted; what
    OME or ImageJ states in another unit is not questioned.
    """
    notes = []
    if metadata := ome_metadata(file):
        try:
            found = ome_images(metadata, [page], strict=True).get(page.index)
            if found is None:
                notes.append(f"the OME metadata of {path} describe other pixels than it holds; they are ignored")
            elif size := _ome_size(found):
                return Stated(size)
            elif "PhysicalSizeX" in found and found.get("PhysicalSizeXUnit", "um") not in _OME_NO_LENGTHS:
                notes.append(f"the pixel size in the OME metadata of {path} cannot be read; it is ignored")
        except ElementTree.ParseError as error:
            notes.append(f"the OME metadata of {path} are no XML ({error}); they are ignored")
    horizontal = page.tags.valueof(282)
    x, y = _number(horizontal), _number(page.tags.valueof(283, default=horizontal))
    unit = _imagej_unit_um(page)
    um = unit or _TAG_UNIT_UM.get(page.tags.valueof(296, default=2), 0)
    if not (um and x and y):
        return Stated(None, "; ".join(notes))
    size = um / x, um / y
    if um not in (25400.0, 1e4):
        return Stated(size, "; ".join(notes))
    dpi = [25400 / length for length in size]
    if any(math.isclose(found, screen, rel_tol=0.005) for found in dpi for screen in _SCREEN_DPI):
        return Stated(None, "; ".join(notes))
    if max(size) > _COARSEST_UM * 1.0001 or any(math.isclose(dpi[0], known, rel_tol=1e-4) for known in _PRINTING_DPI):
        notes.append(
            f"the resolution tags of {path}, {dpi[0]:.4g} dpi or {size[0]:.4g} µm, are those of a print or a "
            "placeholder; they are ignored (if they are true, say so in the manifest, dataset.yaml or --pixel-size)"
        )
        return Stated(None, "; ".join(notes))
    return Stated(size, "; ".join(notes))


def description(page: tifffile.TiffPage) -> str:
    """The page's ImageDescription; empty where it has none, or one that is no text."""
    text = page.tags.valueof(270, default="")
    return text if isinstance(text, str) else ""


def ome_metadata(file: tifffile.TiffFile) -> str | None:
    """The OME-XML of a file, malformed as it may be; None: it has none."""
    text = description(file.pages.first)
    return text if "<OME" in text[:2000] else None  # a comment may come first


def ome_images(
    metadata: str | None, pages: Sequence[tifffile.TiffPage], *, strict: bool = False
) -> dict[int, dict[str, str]]:
    """What OME-XML says of pages: the attributes of Image and Pixels, by the page's index.

    Args:
        metadata: of the file; None: it has none.
        pages: to look for. A page is described by the Pixels of its size that are in this file, by their UUID where
            they have one; of several, by that with its index as IFD, else the first.
        strict: whether malformed metadata raise.

    Raises:
        ElementTree.ParseError: if they are malformed.
    """
    try:
        root = ElementTree.fromstring(metadata or "<OME/>")
    except ElementTree.ParseError:
        if strict:
            raise
        return {}
    found: dict[int, dict[str, str]] = {}
    for page in pages:
        described = [
            (data.get("IFD", "0"), {**image.attrib, **pixels.attrib})
            for image in root.iterfind(".//{*}Image")
            for pixels in image.iterfind("{*}Pixels")
            if (pixels.get("SizeX"), pixels.get("SizeY")) == (str(page.imagewidth), str(page.imagelength))
            for data in pixels.findall("{*}TiffData") or [pixels]  # without one, the pages in their order
            if data.findtext("{*}UUID") in (None, root.get("UUID")) or "UUID" not in root.attrib
        ]
        numbered = [said for number, said in described if number == str(page.index)]
        if described:
            found[page.index] = (numbered or [said for _, said in described])[0]
    return found


def _ome_size(said: Mapping[str, str]) -> tuple[float, float] | None:
    x, y = (
        (_number(said.get(f"PhysicalSize{axis}")) or 0) * (_unit_um(said.get(f"PhysicalSize{axis}Unit", "um")) or 0)
        for axis in "XY"
    )
    return (x, y or x) if x else None


def _imagej_unit_um(page: tifffile.TiffPage) -> float | None:
    """ImageJ writes its unit into the description, and none or a contradicting one into the tag."""
    found = re.search(r"\AImageJ=.*?^unit=(.*?)$", description(page), re.DOTALL | re.MULTILINE)
    return _unit_um(found[1]) if found else None


def _unit_um(text: str) -> float | None:
    """µm of a unit of length, in any spelling and in the usual wrong encodings; None: it is none."""
    unit = text.strip().lower()
    for spelling, short in _SPELLINGS.items():
        unit = re.sub(spelling, short, unit)
    return _UNIT_UM.get(unit)


def _number(value: Any) -> float | None:  # noqa: ANN401 (whatever type a tag has)
    """A finite number above 0, from a rational or any other type; None: it is none."""
    try:
        parts = value if isinstance(value, tuple) else (value,)
        number = float(parts[0]) / (float(parts[1]) if len(parts) > 1 else 1.0)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    return number if 0 < number < math.inf else None
