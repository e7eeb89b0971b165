"""Regions for QuPath: nothing is lost on the way there and back, and what is changed is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile

from rcm_cascade.annotate.annotator import MosaicAnnotation
from rcm_cascade.annotate.outputs import geojson, label_next, write_annotation
from rcm_cascade.annotate.wanted import Outlines, Wanted
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.importers.into import import_labels
from tests.annotate.annotated import annotated


def written(path: Path, mosaic: MosaicAnnotation, how: Outlines | None = None) -> dict[str, Any]:
    geojson.write(path, "a", mosaic, Wanted(geojson=how or Outlines()))
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def doubted(mosaic: MosaicAnnotation) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, mosaic.labels.shape).astype(np.uint8)


def test_a_region_is_as_qupath_reads_it(tmp_path: Path) -> None:
    mosaic = annotated(synthetic=True)
    content = written(tmp_path / "a.geojson", annotated(entropy=np.full((300, 400), 51, np.uint8), synthetic=True))
    assert content["type"] == "FeatureCollection"
    each = next(f for f in content["features"] if f["properties"]["classification"]["name"] == "nested")
    assert each["type"] == "Feature"
    assert each["properties"]["objectType"] == "annotation"
    assert each["properties"]["classification"]["color"] == list(RCM_CLASSES.classes[4].rgb)
    assert len(each["geometry"]["coordinates"]) == 2  # a hole
    pixels = int((mosaic.labels == 4).sum())
    assert each["properties"]["measurements"] == {
        "Area px": pixels, "Area mm^2": pytest.approx(pixels * 4e-6), "Mean confidence": 0.8,
    }  # fmt: skip
    assert all(isinstance(v, int) for point in each["geometry"]["coordinates"][0] for v in point)
    assert "synthetic" in content["rcm_cascade"]["note"]


def test_import_gives_the_label_map_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 6, (30, 40)), np.ones((7, 5))).astype(np.uint8)
    labels[::9, ::11] = 5
    image = tmp_path / "there" / "a.tif"
    image.parent.mkdir()
    tifffile.imwrite(image, rng.integers(0, 255, labels.shape, np.uint8))
    written(tmp_path / "there" / "a.geojson", annotated(image=labels, labels=labels))

    _, done = import_labels([tmp_path / "there" / "a.geojson"], tmp_path / "root", [image])

    assert not done[0].refused
    assert done[0].notes == []
    label = read_dataset(tmp_path / "root").entries[0].label
    assert label is not None
    assert np.array_equal(read_labels(label, RCM_CLASSES, labels.shape), labels)


def test_what_is_simplified_or_left_out_is_said_and_leaves_no_gap(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:300, :400]
    labels = np.where((rows - 150) ** 2 + (cols - 200) ** 2 < 9000, 4, 0).astype(np.uint8)
    labels[:20, :20] = 5
    mosaic = annotated(image=labels, labels=labels)
    exact, rough = (
        written(tmp_path / f"{how.simplify_um}.geojson", mosaic, how) for how in (Outlines(), Outlines(20.0, 0.01))
    )
    assert exact["rcm_cascade"]["simplified_um"] == 0
    assert rough["rcm_cascade"]["simplified_um"] == 20
    assert rough["rcm_cascade"]["min_area_mm2"] == 0.01
    assert (exact["rcm_cascade"]["regions_left_out"], rough["rcm_cascade"]["regions_left_out"]) == (0, 1)
    assert (len(exact["features"]), len(rough["features"])) == (3, 2)
    outer, inner = (shapely.from_geojson(json.dumps(f["geometry"])) for f in rough["features"])
    assert outer.is_valid
    assert inner.is_valid
    assert outer.intersection(inner).area == 0
    assert outer.union(inner).area == pytest.approx(300 * 400 - 400, abs=400)
    assert len(str(rough)) < len(str(exact)) / 3


def test_where_the_pixel_size_is_not_known_areas_are_px(tmp_path: Path) -> None:
    mosaic = annotated(pixel_size_um=None, pixel_size_source="unknown")
    content = written(tmp_path / "a.geojson", mosaic, Outlines(0, 5000))
    assert content["rcm_cascade"]["regions_left_out"] > 0
    assert all(set(f["properties"]["measurements"]) == {"Area px"} for f in content["features"])


def test_fields_to_label_are_rectangles_without_a_class(tmp_path: Path) -> None:
    mosaic = annotated(1200, 1600)
    mosaic = annotated(1200, 1600, image=mosaic.mosaic.image, labels=mosaic.labels, entropy=doubted(mosaic))
    label_next.write(tmp_path / "a.label_next.geojson", "a", mosaic, Wanted(label_next=5))
    content = json.loads((tmp_path / "a.label_next.geojson").read_text("utf-8"))
    assert len(content["features"]) == 5
    assert all("classification" not in f["properties"] for f in content["features"])
    assert len({f["properties"]["name"].split(": ")[1] for f in content["features"]}) > 2
    for each in content["features"]:
        box = shapely.from_geojson(json.dumps(each["geometry"]))
        assert box.area == 250 * 250
        assert each["properties"]["measurements"]["Mean entropy"] == pytest.approx(0.5, abs=0.02)


def test_files_that_are_wanted_no_more_go_and_those_of_others_stay(tmp_path: Path) -> None:
    mosaic = annotated()
    everything = Wanted(entropy=False, geojson=Outlines(), label_next=2)
    paths = write_annotation(tmp_path, "a.tif", mosaic, wanted=everything)
    assert {"fields", "geojson", "label_next"} < set(paths)
    other = tmp_path / "a.entropy.ome.tif"
    other.write_text("mine")
    paths["geojson"].write_text("corrected by a reader")

    kept = write_annotation(tmp_path, "a.tif", annotated(checkpoint_sha256="cd" * 32))

    assert paths["geojson"].read_text() == "corrected by a reader"
    assert other.read_text() == "mine"
    assert set(tmp_path.iterdir()) == {*kept.values(), other, paths["geojson"]}
