"""QuPath's GeoJSON, and ours: polygons with a class."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import Meanings
from rcm_cascade.importers.polygons import Rings, area, burn
from rcm_cascade.importers.source import Drawn, Labelled, Reader, Shape, stem_of


def _read(path: Path, meanings: Meanings) -> Iterator[Labelled]:
    yield Labelled(stem_of(path.name), path, partial(_draw, path, meanings))


def _draw(path: Path, meanings: Meanings, shape: Shape) -> Drawn:
    notes: list[str] = []
    shapes: list[tuple[float, int, Rings]] = []
    for number, feature in enumerate(_features(path), start=1):
        where = f"annotation {number}"
        polygons = _polygons(path, where, feature)
        if not polygons:
            kind = (feature.get("geometry") or {}).get("type", "without a geometry")
            notes.append(f"{where} is no area ({kind}) and was left out")
            continue
        x, y = polygons[0][0][0]
        name = _class_name(feature)
        id_ = None if name is None else meanings.of(name)
        if id_ is None:
            what = "has no class" if name is None else f"is of the class {name!r}, which is not known,"
            notes.append(f"{where} at ({x:.0f}, {y:.0f}) {what} and was left out")
            continue
        shapes += [(area(rings), id_, rings) for rings in polygons]
    labels, overlaps = burn(shapes, shape)
    if overlaps:
        notes.append(f"{overlaps} px lie in areas of several classes: the smaller area counts")
    return Drawn(labels, notes)


def _features(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as GeoJSON ({error}); export it again") from error
    if isinstance(content, dict):
        content = content.get("features", [content])
    if not isinstance(content, list) or not all(isinstance(f, dict) and "geometry" in f for f in content):
        raise InputError(f"{path} holds no GeoJSON features; export the annotations of QuPath as GeoJSON")
    return content


def _class_name(feature: Mapping[str, Any]) -> str | None:
    properties = feature.get("properties") or {}
    given = properties.get("classification")
    name = given.get("name") if isinstance(given, dict) else given
    return name if isinstance(name, str) else None


def _polygons(path: Path, where: str, feature: Mapping[str, Any]) -> list[Rings]:
    geometry = feature.get("geometry") or {}
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    parts: Any = coordinates if kind == "MultiPolygon" else [coordinates] if kind == "Polygon" else []
    try:
        polygons = [[np.array(ring, np.float64)[:, :2] for ring in part] for part in parts]
        if not all(len(ring) >= 3 and np.isfinite(ring).all() for rings in polygons for ring in rings):
            raise ValueError("a ring has fewer than three points, or one that is no number")
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}, {where}: its coordinates cannot be read ({error}); export it again") from error
    return [rings for rings in polygons if rings]


def _matches(path: Path, meanings: Meanings) -> bool:
    return path.is_file() and path.suffix.lower() in (".geojson", ".json")


Reader("qupath", "GeoJSON of QuPath or of `annotate --geojson`", _matches, _read)
