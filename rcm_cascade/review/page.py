"""A mosaic's page: a folder that a browser opens from disk, without server or network."""

import base64
import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.journal import MAKER
from rcm_cascade.annotate.outputs import SUMMARY, output_paths, stem_of
from rcm_cascade.annotate.pyramid import TILE, halvings
from rcm_cascade.annotate.regions import LabelRegion
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable
from rcm_cascade.pictures.maps import blend, shrink_factor, shrink_image, shrink_labels
from rcm_cascade.pictures.png import png_data_uri
from rcm_cascade.review import tiles
from rcm_cascade.yaml_file import read_yaml

SUFFIX: Final = ".page"
FACTS: Final = "page.json"

VALUES_PX: Final = 2000
"""Px of the longer side of the map that the read-out under the cursor looks into."""

ENTROPY_PX: Final = 500
OUTLINE_PX: Final = 1500
THUMBNAIL_PX: Final = 320

ASSETS: Final = files("rcm_cascade.review") / "assets"

LICENCE: Final = """Leaflet 1.9.3, https://leafletjs.com

BSD 2-Clause License

Copyright (c) 2010-2022, Volodymyr Agafonkin
Copyright (c) 2010-2011, CloudMade
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


def page_of(out: Path, image: str | Path) -> Path:
    """The folder of a mosaic's page."""
    return out / (stem_of(image) + SUFFIX)


def is_page(folder: Path) -> bool:
    """Whether a folder is a page of ours."""
    facts = _facts(folder / FACTS)
    return facts is not None and "rcm_cascade" in str(facts.get("maker"))


def is_finished(out: Path, image: str | Path) -> bool:
    """Whether a mosaic's page is there and is of the files that `write_annotation` has written."""
    facts, record = _facts(page_of(out, image) / FACTS), _facts(output_paths(out, image)[SUMMARY])
    return facts is not None and record is not None and facts.get("files") == record.get("files")


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write(out: Path, image: str | Path, annotated: MosaicAnnotation) -> Path:
    """Writes a mosaic's page, whole or not at all; an earlier one of ours is replaced.

    Args:
        out: the folder that `write_annotation` has written into.
        image: the mosaic's file, for its name.
        annotated: the mosaic.

    Returns:
        The page's folder.

    Raises:
        InputError: if something else lies in its place.
        OSError: if the folder cannot be written.
    """
    folder = page_of(out, image)
    if folder.exists() and not is_page(folder):
        raise InputError(f"{folder} is no page of annotate's and would be replaced; choose another folder with --out")
    made = folder.with_name(f".{folder.name[:200]}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        summary = json.loads(output_paths(out, image)[SUMMARY].read_text("utf-8"))
        _fill(made, printable(stem_of(image)), annotated, summary)
        (made / FACTS).write_text(json.dumps({"maker": MAKER, "files": summary["files"]}), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _fill(folder: Path, stem: str, annotated: MosaicAnnotation, summary: Mapping[str, Any]) -> None:
    labels, classes, truth = annotated.labels, annotated.classes, annotated.truth
    image = annotated.mosaic.native_image
    shown = {"image": tiles.write_tiles(folder / "image", image, tiles.draw_grey, average=True, fill=0)}
    for class_ in classes.classes:
        draw = tiles.draw_class(class_.id, class_.rgb)
        shown[f"class{class_.id}"] = tiles.write_tiles(folder / f"class{class_.id}", labels, draw)
    if annotated.entropy is not None:
        shown["entropy"] = tiles.write_tiles(folder / "entropy", annotated.entropy, tiles.draw_entropy(), fill=0)
    if truth is not None:
        shown["truth"] = tiles.write_tiles(folder / "truth", truth, tiles.draw_classes(classes))
    thumbnail = shrink_factor(annotated.mosaic.native_shape, THUMBNAIL_PX)
    small = blend(shrink_image(image, thumbnail), shrink_labels(labels, thumbnail), classes)
    fields = annotated.fields
    data = {
        "stem": stem,
        "name": annotated.mosaic.name,
        "version": __version__,
        "sha256": annotated.source_sha256,
        "side": TILE,
        "levels": halvings(annotated.mosaic.native_shape),
        "tiles": {layer: {str(k): " ".join(v) for k, v in by_level.items()} for layer, by_level in shown.items()},
        "colours": [c.color for c in classes.classes],
        "outlines": [_outline(region) for region in annotated.regions],
        "fields": {"tops": fields.tops.tolist(), "lefts": fields.lefts.tolist()},
        "thumbnail": png_data_uri(small),
        **{k: summary[k] for k in ("shape", "pixel_size_um", "classes", "regions", "lesion", "uninformative", "note")},
    }
    _script(folder / "data.js", "RCM", data)
    _script(folder / "values.js", "RCM_VALUES", _values(annotated))
    for name in ("page.js", "page.css"):
        (folder / name).write_bytes((ASSETS / name).read_bytes())
    leaflet = files("xstatic.pkg.leaflet") / "data"
    (folder / "leaflet").mkdir()
    for name in ("leaflet.js", "leaflet.css"):
        (folder / "leaflet" / name).write_bytes((leaflet / name).read_bytes())
    (folder / "leaflet" / "LICENSE").write_text(LICENCE, "utf-8")
    legend = _legend(folder, classes.names)
    page = environment().get_template("page.html")
    html = page.render(stem=stem, classes=classes.classes, legend=legend, data=data, truth=truth is not None)
    (folder / "index.html").write_text(html, "utf-8")


def environment() -> jinja2.Environment:
    """Of the pages' templates; what they are given is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rcm_cascade.review", "assets"), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _script(path: Path, name: str, content: object) -> None:
    """Data that a page from disk may read: a script of one assignment."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False).replace("</", "<\\/")
    path.write_text(f"window.{name} = {text};\n", "utf-8")


def _legend(folder: Path, names: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """A sentence and a small synthetic example of each pattern that readers know by this name."""
    known = read_yaml(Path(str(ASSETS / "legend.yaml")))
    found = {name: dict(known[name]) for name in names if name in known}
    for entry in found.values():
        place = folder / "examples" / entry["example"]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((ASSETS / "examples" / entry["example"]).read_bytes())
    return found


def _outline(region: LabelRegion) -> list[list[list[int]]]:
    """Rings of ``[x, y]`` in px of the mosaic, along blocks of a few px."""
    factor = shrink_factor((region.height, region.width), OUTLINE_PX)
    top, left, inside = region.shown(factor)
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = [cv2.approxPolyDP(contour, 1.5, True)[:, 0] for contour in contours]
    return [((ring + (left, top) + 0.5) * factor).astype(int).tolist() for ring in rings if len(ring) > 2]


def _values(annotated: MosaicAnnotation) -> dict[str, Any]:
    """Class ids and entropy for the read-out, on coarser grids: runs of equal ids, and a byte a cell."""
    factor = shrink_factor(annotated.mosaic.native_shape, VALUES_PX)
    ids = shrink_labels(annotated.labels, factor)
    flat = ids.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat.astype(np.int16))) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    runs = np.stack([flat[starts].astype(np.uint32), lengths.astype(np.uint32)], axis=1)
    found: dict[str, Any] = {"shape": list(ids.shape), "runs": _base64(runs.astype("<u4")), "entropy": None}
    if annotated.entropy is not None:
        coarse = shrink_factor(annotated.mosaic.native_shape, ENTROPY_PX)
        cells = shrink_image(annotated.entropy, coarse)
        found |= {"entropy": _base64(cells), "entropy_shape": list(cells.shape)}
    return found


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
