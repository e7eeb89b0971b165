import csv
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import ome_types
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade import __version__
from rcm_cascade.annotate import pyramid
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.outputs import (
    FORMATS,
    is_finished,
    labels,
    output_paths,
    refuse_equal_stems,
    stem_of,
    write_annotation,
)
from rcm_cascade.annotate.wanted import PLAIN, Wanted
from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.data.formats import stored_pixel_size
from rcm_cascade.data.labels import read_labels
from rcm_cascade.errors import InputError
from rcm_cascade.files import printable
from rcm_cascade.models.checkpoint import digest
from tests.annotate.annotated import annotated

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("x/a.ome.tif", "a"),
        ("a.OME.TIFF", "a"),
        ("a.tif", "a"),
        ("a.b.png", "a.b"),
        ("a", "a"),
        (".ome.tif", ".ome"),
        ("dome.tif", "dome"),
    ],
)
def test_stems(name: str, stem: str) -> None:
    assert stem_of(name) == stem


def test_output_paths() -> None:
    paths = output_paths(Path("o"), "x/a.ome.tif")

    assert {Path("o/a.labels.ome.tif"), Path("o/a.overlay.png")} < set(paths.values())
    assert list(paths.values())[-1] == Path("o/a.json")


def test_two_inputs_with_one_stem_are_refused_by_name() -> None:
    refuse_equal_stems([Path("x/a.tif"), Path("x/b.tif"), Path("x/a.b.tif")])
    composed, decomposed = Path("x/\u00c4.tif"), Path("x/a\u0308.tif")
    with pytest.raises(InputError, match="would both be written"):
        refuse_equal_stems([composed, decomposed])
    for other in (Path("y/a.ome.tif"), Path("x/A.png"), Path("x/a.tif")):
        with pytest.raises(InputError) as caught:
            refuse_equal_stems([Path("x/a.tif"), Path("x/b.tif"), other])
        assert str(Path("x/a.tif")) in str(caught.value)
        assert str(other) in str(caught.value)


def test_the_three_files_and_no_other(tmp_path: Path) -> None:
    mosaic = annotated()

    paths = write_annotation(tmp_path / "new" / "out", "x/a.ome.tif", mosaic)

    assert paths == output_paths(tmp_path / "new" / "out", "x/a.ome.tif")
    assert sorted(paths["labels"].parent.iterdir()) == sorted(paths.values())
    assert np.array_equal(tifffile.imread(paths["labels"]), mosaic.labels)
    with Image.open(paths["overlay"]) as picture:
        assert picture.size[0] >= 400


def write_labels(path: Path, ids: NDArray[np.uint8]) -> None:
    labels.write(path, "a", annotated(image=ids, labels=ids, pixel_size_um=0.5), PLAIN)


def test_the_label_file_is_a_tiled_pyramid_with_the_pixel_size_in_it(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 6, (1100, 2100)).astype(np.uint8)
    path = tmp_path / "a.labels.ome.tif"

    write_labels(path, ids)

    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.ome_metadata is not None
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1100, 2100), (550, 1050), (275, 525), (138, 263)]
        for k, level in enumerate(levels):
            page = level.pages[0]
            assert isinstance(page, tifffile.TiffPage)
            assert np.array_equal(level.asarray(), ids[:: 2**k, :: 2**k])
            assert (page.tilewidth, page.tilelength) == (512, 512)
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.dtype == np.uint8
            assert page.resolution == pytest.approx((2e4 / 2**k, 2e4 / 2**k))
        image = ElementTree.fromstring(file.ome_metadata).find(f"{OME}Image")
    assert image is not None
    assert image.get("Name") == path.name
    assert image.findtext(f"{OME}Description", "").startswith("0 non-lesion, 1 artifact")
    pixels = image.find(f"{OME}Pixels")
    assert pixels is not None
    sizes = {"PhysicalSizeX": "0.5", "PhysicalSizeXUnit": "µm", "PhysicalSizeY": "0.5", "PhysicalSizeYUnit": "µm"}
    assert sizes.items() <= pixels.attrib.items()
    channel = pixels.find(f"{OME}Channel")
    assert channel is not None
    assert channel.get("Name") == "class id"


def test_the_entropy_file_says_what_it_is(tmp_path: Path) -> None:
    unsure = np.random.default_rng(0).integers(0, 256, (300, 400)).astype(np.uint8)
    mosaic = annotated(entropy=unsure, synthetic=True)

    paths = write_annotation(tmp_path, "a.tif", mosaic, wanted=Wanted())

    with tifffile.TiffFile(paths["entropy"]) as file:
        assert np.array_equal(file.series[0].levels[0].asarray(), unsure)
        assert file.ome_metadata is not None
        assert "temperature 1, divided by its largest value (ln 6), times 255" in file.ome_metadata
        assert "synthetic" in file.ome_metadata
    assert stored_pixel_size(paths["entropy"]) == stored_pixel_size(paths["labels"])
    assert paths["fields"].read_text().startswith("row,column,top_px,left_px")


def test_a_row_a_field_adds_up_to_the_mosaic(tmp_path: Path) -> None:
    paths = write_annotation(tmp_path, "a.tif", mosaic := annotated(600, 700), wanted=Wanted(entropy=False))
    with paths["fields"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3
    for class_ in RCM_CLASSES.classes:
        share = sum(float(r[f"{class_.name} share"]) * int(r["height_px"]) * int(r["width_px"]) for r in rows)
        assert share == pytest.approx((mosaic.labels == class_.id).sum(), abs=1)
    assert {r["dominant"] for r in rows} <= set(RCM_CLASSES.names)
    assert all(r["entropy"] == "" for r in rows)
    assert {int(r["irregular"]) for r in rows} == {int(int(r["patterns around"]) >= 3) for r in rows}


def test_another_reader_sees_the_same_pyramid_and_pixel_size(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 6, (1100, 2100)).astype(np.uint8)
    path = tmp_path / "a.labels.ome.tif"

    write_labels(path, ids)

    for k in range(4):
        # libvips counts SubIFDs from 0; -1 is the page itself. It holds the resolution in pixels per mm.
        level = pyvips.Image.new_from_file(str(path), subifd=k - 1)
        assert (level.format, level.bands, level.interpretation) == ("uchar", 1, "b-w")
        np.testing.assert_array_equal(level.numpy(), ids[:: 2**k, :: 2**k])
        assert (level.xres, level.yres) == pytest.approx((2000 / 2**k, 2000 / 2**k))
    whole = pyvips.Image.new_from_file(str(path))
    assert (whole.get("n-pages"), whole.get("n-subifds")) == (1, 3)
    (image,) = ome_types.from_xml(whole.get("image-description"), validate=True).images
    pixels = image.pixels
    assert (pixels.size_x, pixels.size_y, pixels.type.value) == (2100, 1100, "uint8")
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.5, 0.5)
    assert {pixels.physical_size_x_unit.value, pixels.physical_size_y_unit.value} == {"µm"}
    assert [channel.name for channel in pixels.channels] == ["class id"]


def test_the_label_file_reads_back_as_a_label_map_of_ours(tmp_path: Path) -> None:
    mosaic = annotated(pixel_size_um=4.0)

    paths = write_annotation(tmp_path, "a.tif", mosaic)

    assert np.array_equal(read_labels(paths["labels"], RCM_CLASSES, mosaic.labels.shape), mosaic.labels)
    assert stored_pixel_size(paths["labels"]) == pytest.approx(4.0)


def test_no_pixel_size_is_written_where_none_is_known(tmp_path: Path) -> None:
    paths = write_annotation(tmp_path, "a.tif", annotated(pixel_size_um=None, pixel_size_source="unknown"))

    assert stored_pixel_size(paths["labels"]) is None
    content = json.loads(paths["summary"].read_text("utf-8"))
    assert content["pixel_size_um"] is None
    assert {c["area_mm2"] for c in content["classes"]} == {None}
    assert {r["area_mm2"] for r in content["regions"]} == {None}


def test_a_huge_label_map_becomes_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = annotated().labels
    for limit, big in ((ids.nbytes, False), (ids.nbytes - 1, True)):
        monkeypatch.setattr(pyramid, "BIGTIFF_BYTES", limit)
        write_labels(tmp_path / "a.tif", ids)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.is_bigtiff == big


def test_the_numbers(tmp_path: Path) -> None:
    mosaic = annotated(synthetic=True)

    content = json.loads(write_annotation(tmp_path, "x/a.tif", mosaic)["summary"].read_text("utf-8"))

    assert (content["mosaic"], content["shape"]) == ("a.tif", [300, 400])
    assert content["maker"] == f"rcm_cascade {__version__}"
    assert content["files"] == {name: digest(tmp_path / name) for name in ("a.labels.ome.tif", "a.overlay.png")}
    assert (content["pixel_size_um"], content["pixel_size_source"], content["working_pixel_size_um"]) == (2, "file", 2)
    assert [c["name"] for c in content["classes"]] == list(RCM_CLASSES.names)
    for c in content["classes"]:
        pixels = int((mosaic.labels == c["id"]).sum())
        assert c["pixels"] == pixels > 0
        assert c["share"] == pytest.approx(pixels / 120_000)
        assert c["area_mm2"] == pytest.approx(pixels * 4e-6)
    assert [(r["number"], r["class"]) for r in content["regions"]] == [
        (1, "nested"),
        (2, "patternless"),
        (3, "patternless"),
    ]
    second = content["regions"][1]
    assert second["pixels"] == 38 * 100
    assert second["area_mm2"] == pytest.approx(38 * 100 * 4e-6)
    assert second["bounding_box_px"] == {"top": 37, "left": 300, "height": 38, "width": 100}
    assert second["centroid_px"] == {"row": pytest.approx(55.5), "column": pytest.approx(349.5)}
    assert content["checkpoint"] == {"name": "best.ckpt", "sha256": "ab" * 32, "init_sha256": None}
    assert content["synthetic"] is True
    assert set(content["versions"]) == {"rcm_cascade", "torch"}
    begun = write_annotation(tmp_path / "begun", "b/a.tif", annotated(init_sha256="cd" * 32))
    assert json.loads(begun["summary"].read_text("utf-8"))["checkpoint"]["init_sha256"] == "cd" * 32
    assert (content["precision"], content["backend"], content["device"]) == ("fp32", "torch", "cpu")
    assert content["tile"] == [[64, 64], [64, 64]]
    timing = content["timing"]
    assert (timing["read_s"], timing["network_s"]) == (0.5, 2.0)
    assert timing["write_s"] > 0
    assert timing["megapixels_per_s"] == pytest.approx(0.06)


def test_labels_and_overlay_name_maker_and_mosaic(tmp_path: Path) -> None:
    paths = write_annotation(tmp_path, "a.tif", annotated(source_sha256="cd" * 32))

    with tifffile.TiffFile(paths["labels"]) as file:
        assert f"rcm_cascade {__version__}, from SHA-256 {'cd' * 32}" in str(file.ome_metadata)
    with Image.open(paths["overlay"]) as picture:
        assert picture.info["Software"] == f"rcm_cascade {__version__}"
        assert picture.info["source_sha256"] == "cd" * 32


@pytest.mark.parametrize("name", ["m\udcff.tif", "m\n\x01\x7f.tif", "Größe µ².tif"], ids=ascii)
def test_names_that_are_no_text_are_written_as_text(name: str, tmp_path: Path) -> None:
    shown = printable(name)
    mosaic = annotated()
    mosaic = replace(mosaic, mosaic=replace(mosaic.mosaic, name=shown))

    paths = write_annotation(tmp_path, name, mosaic)

    assert sorted(tmp_path.iterdir()) == sorted(paths.values())
    assert json.loads(paths["summary"].read_bytes().decode())["mosaic"] == shown
    with tifffile.TiffFile(paths["labels"]) as file:
        (image,) = ome_types.from_xml(str(file.ome_metadata), validate=True).images
    assert image.name == f"{shown[:-4]}.labels.ome.tif"


def test_class_tables_without_the_names_have_no_regions(tmp_path: Path) -> None:
    others = ClassTable(tuple(LabelClass(i, f"c{i}", "#123456") for i in range(6)))

    paths = write_annotation(tmp_path, "a.tif", annotated(classes=others))

    assert json.loads(paths["summary"].read_text("utf-8"))["regions"] == []


@pytest.mark.parametrize("broken", ["labels.write", "overlay.write", "summarise"])
def test_all_three_or_none(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the midst of it")

    paths = write_annotation(tmp_path, "a.tif", annotated(checkpoint_sha256="cd" * 32))
    old = {path: path.read_bytes() for path in paths.values()}
    monkeypatch.setattr(f"rcm_cascade.annotate.outputs.{broken}", fail)

    with pytest.raises(RuntimeError, match="midst"):
        write_annotation(tmp_path, "a.tif", annotated())

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == old


def finished(out: Path, checkpoint_sha256: str) -> bool:
    cache = SimpleNamespace(content=lambda _: "")
    annotator: Any = SimpleNamespace(sha256=checkpoint_sha256, cache=cache)
    return is_finished(out, Path("a.tif"), annotator, AnnotationOptions(), None)


@pytest.mark.parametrize("broken", ["labels", "overlay"])
def test_nothing_vouches_for_files_of_which_one_could_not_take_its_place(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_annotation(tmp_path, "a.tif", annotated())
    assert finished(tmp_path, "ab" * 32)
    replaced: list[str] = []
    right = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == paths[broken]:
            raise KeyboardInterrupt
        replaced.append(target.name)
        return right(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_annotation(tmp_path, "a.tif", annotated(checkpoint_sha256="cd" * 32))

    assert "a.json" not in replaced
    for checkpoint in ("ab" * 32, "cd" * 32):
        assert not finished(tmp_path, checkpoint)


def test_a_format_is_a_module_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"labels", "overlay"} <= set(FORMATS)
    added: Any = ModuleType("shares")
    added.SUFFIX, added.write = ".txt", lambda path, stem, found, _: path.write_text(f"{stem} {found.mosaic.name}")
    monkeypatch.setitem(FORMATS, "shares", added)

    paths = write_annotation(tmp_path, "a.tif", annotated())

    assert paths["shares"].read_text() == "a m"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.labels.ome.tif", "a.overlay.png", "a.txt"]
    paths["shares"].unlink()
    assert not finished(tmp_path, "ab" * 32)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="--out"):
        write_annotation(tmp_path / "file" / "out", "a.tif", annotated())
