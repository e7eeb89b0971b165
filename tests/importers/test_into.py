"""Each source as its own tool writes it, or as its format says, into a dataset folder and read back."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nrrd
import numpy as np
import pytest
import roifile
import shapely
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import RCM_CLASSES, UNLABELLED
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.importers.into import Imported, import_labels

SHAPE = (60, 80)
NAMES = RCM_CLASSES.names


def truth() -> NDArray[np.uint8]:
    """Three areas with edges in every direction, one with a hole, and much that is not labelled."""
    labels = np.full(SHAPE, UNLABELLED, np.uint8)
    labels[5:25, 8:40] = 3
    labels[10:16, 15:22] = UNLABELLED
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels[(rows - 42) ** 2 + (cols - 50) ** 2 < 140] = 4
    labels[40:55, 2:20] = 1
    return labels


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    path = tmp_path / "there" / "VivaBlock #1.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, SHAPE, np.uint8)).save(path)
    return path


@pytest.fixture
def bring(tmp_path: Path, mosaic: Path) -> Callable[..., tuple[list[Imported], NDArray[np.uint8]]]:
    """Imports sources for the mosaic; gives what became of them, and the labels that are then read."""

    def run(*sources: Path, **more: Any) -> tuple[list[Imported], NDArray[np.uint8]]:
        _, done = import_labels(sources, tmp_path / "root", [mosaic], **more)
        assert not any(each.refused for each in done), done
        entry = read_dataset(tmp_path / "root").entries[0]
        assert entry.label is not None
        assert np.array_equal(read_image(entry.image), read_image(mosaic))
        return done, read_labels(entry.label, RCM_CLASSES, SHAPE)

    return run


def refused(sources: list[Path], root: Path, mosaic: Path, **more: Any) -> str:
    _, done = import_labels(sources, root, [mosaic], **more)
    assert [each.refused for each in done] == [True]
    assert not (root / "manifest.csv").exists()
    return done[0].notes[0]


def polygons(labels: NDArray[np.uint8], id_: int) -> Any:
    return shapely.unary_union([shapely.box(c, r, c + 1, r + 1) for r, c in np.argwhere(labels == id_)])


def feature(geometry: Any, classification: Any) -> dict[str, Any]:
    properties = {"objectType": "annotation", "classification": classification}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


# QuPath.


@pytest.mark.parametrize("whole", [True, False])
def test_qupath_s_annotations_come_back_bit_for_bit(whole: bool, tmp_path: Path, bring: Any) -> None:
    features = [
        feature(polygons(truth(), id_), {"name": NAMES[id_], "color": [1, 2, 3]} if whole else NAMES[id_])
        for id_ in (3, 4, 1)
    ]
    path = tmp_path / "VivaBlock #1.png - annotations.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} if whole else features))

    done, labels = bring(path)

    assert np.array_equal(labels, truth())
    assert done[0].notes == []
    assert done[0].outcome == "mosaic and labels added"


def test_what_qupath_drew_and_nobody_understands_is_listed_with_its_place(tmp_path: Path, bring: Any) -> None:
    square = shapely.box(10, 10, 30, 30)
    features = [
        feature(square, {"name": "Ringed pattern"}),
        feature(shapely.box(15, 15, 20, 20), {"name": "clods"}),
        feature(shapely.box(60, 20, 70, 40), {"name": "Tumor"}),
        feature(shapely.box(40, 2, 50, 9), None),
        feature(shapely.Point(3, 4), {"name": "ring"}),
    ]
    path = tmp_path / "x.geojson"
    path.write_text(json.dumps(features))

    done, labels = bring(path)

    assert [(labels == id_).sum() for id_ in (3, 4)] == [20 * 20 - 25, 25]  # the smaller lies on top
    assert [note.split(" and was")[0] for note in done[0].notes[:3]] == [
        "annotation 3 at (70, 20) is of the class 'Tumor', which is not known,",
        "annotation 4 at (50, 2) has no class",
        "annotation 5 is no area (Point)",
    ]
    assert done[0].notes[3].startswith("25 px lie in areas of several classes")


# Masks.


@pytest.mark.parametrize("suffix", ["png", "tif", "nrrd", "mha"])
def test_seg3d_s_masks_a_class(suffix: str, tmp_path: Path, bring: Any) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for id_, word in ((3, "rings"), (4, "clod"), (1, "Artefact")):
        mask = (truth() == id_).astype(np.uint8) * 255
        path = folder / f"VivaBlock #1_{word}.{suffix}"
        if suffix == "nrrd":
            nrrd.write(str(path), mask, index_order="C")
        elif suffix == "mha":
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), str(path))
        else:
            Image.fromarray(mask).save(path)

    _, labels = bring(folder)

    assert np.array_equal(labels, truth())


def test_masks_that_overlap_leave_the_overlap_unlabelled(tmp_path: Path, bring: Any) -> None:
    folder = tmp_path / "VivaBlock #1"
    folder.mkdir()
    for name, columns in (("ring", slice(0, 30)), ("nested", slice(20, 50))):
        mask = np.zeros(SHAPE, np.uint8)
        mask[:10, columns] = 1
        Image.fromarray(mask).save(folder / f"{name}.png")

    done, labels = bring(folder)

    assert [(labels == id_).sum() for id_ in (3, 4)] == [200, 200]
    assert done[0].notes == ["masks of several classes overlap (100 px, first at row 0, column 20): left unlabelled"]


def test_one_label_nrrd(tmp_path: Path, bring: Any) -> None:
    path = tmp_path / "VivaBlock #1_labels.nrrd"
    nrrd.write(str(path), truth()[None], index_order="C")

    assert np.array_equal(bring(path)[1], truth())


def segmentation(path: Path, space: str = "left-posterior-superior", crop: bool = False, turned: bool = False) -> None:
    """As 3D Slicer writes it: rings in one layer, nests and artifact in another, which may overlap the first."""
    rows, cols = (slice(3, 58), slice(1, 70)) if crop else (slice(None), slice(None))
    labels = truth()[rows, cols]
    layers = np.stack([(labels == 3) * 1, (labels == 4) * 1 + (labels == 1) * 2]).astype(np.uint8)
    layers = layers[:, ::-1, ::-1] if turned else layers
    sign = -1.0 if turned else 1.0
    left = {"right-anterior-superior": -1.0}.get(space, 1.0) * sign
    directions = [[left, 0, 0], [0, left, 0], [0, 0, 1]]
    header = {
        "space": space,
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([[np.nan] * 3, *directions]),
        "space origin": [0.0, 0.0, 0.0],
        "Segmentation_ReferenceImageExtentOffset": "1 3 0" if crop else "0 0 0",
    }
    for index, (name, layer, value) in enumerate((("Ring", 0, 1), ("Nest", 1, 1), ("Artifact", 1, 2))):
        header |= {
            f"Segment{index}_Name": name, f"Segment{index}_Layer": str(layer), f"Segment{index}_LabelValue": str(value),
        }  # fmt: skip
    nrrd.write(str(path), np.moveaxis(layers, 0, -1)[None], header, index_order="C")


@pytest.mark.parametrize(
    "given",
    [{}, {"crop": True}, {"turned": True}, {"space": "right-anterior-superior"}],
    ids=str,
)
def test_a_segmentation_of_3d_slicer(given: dict[str, Any], tmp_path: Path, bring: Any) -> None:
    path = tmp_path / "Segmentation.seg.nrrd"
    segmentation(path, **given)

    assert np.array_equal(bring(path)[1], truth())


def test_rois_of_imagej(tmp_path: Path, bring: Any) -> None:
    path = tmp_path / "RoiSet.zip"
    shapes = {"ring-0001": [(5, 5), (30, 5), (30, 25), (5, 25)], "nest": [(10, 10), (20, 10), (20, 20), (10, 20)],
              "hair": [(40, 40), (50, 40), (50, 50)]}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, points in shapes.items():
            roi = roifile.ImagejRoi.frompoints(np.array(points), name=name)
            roi.roitype = roifile.ROI_TYPE.POLYGON
            archive.writestr(f"{name}.roi", roi.tobytes())

    done, labels = bring(path)

    assert [(labels == id_).sum() for id_ in (3, 4)] == [400, 100]
    assert done[0].notes[0] == "ROI 'hair' is of no known class and was left out"


# Painted pictures.


def test_pictures_in_the_classes_colours(tmp_path: Path, bring: Any) -> None:
    path = tmp_path / "VivaBlock #1_mask.png"
    Image.fromarray(RCM_CLASSES.palette()[truth()]).save(path)

    assert np.array_equal(bring(path)[1], truth())


def test_edges_that_were_smoothed_are_left_unlabelled(tmp_path: Path, bring: Any) -> None:
    path = tmp_path / "VivaBlock #1_mask.png"
    sharp = RCM_CLASSES.palette()[truth()]
    smooth = cv2.resize(cv2.resize(sharp, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR), (80, 60), interpolation=3)
    Image.fromarray(smooth).save(path)
    changed = (smooth != sharp).any(axis=2)
    assert 50 < changed.sum() < 1000

    done, labels = bring(path)

    assert np.array_equal(labels[~changed], truth()[~changed])
    assert (labels[changed] == UNLABELLED).all()
    assert "blends of their colours" in done[0].notes[0]


def test_colours_that_mean_nothing_are_counted_and_located(tmp_path: Path, mosaic: Path) -> None:
    path = tmp_path / "VivaBlock #1_mask.png"
    picture = RCM_CLASSES.palette()[truth()]
    picture[30:32, 5:10] = 1, 200, 3
    Image.fromarray(picture).save(path)

    outcome = refused([path], tmp_path / "root", mosaic)

    assert "10 px of 1 colours that mean no class: #01c803 (10 px, first at row 30, column 5)" in outcome


def test_the_authors_own_layout(tmp_path: Path, bring: Any) -> None:
    order = [0, 1, 3, 4, 2, 5, UNLABELLED, 7]
    stored = np.full(SHAPE, 7, np.uint8)
    for value, id_ in enumerate(order[:6]):
        stored[truth() == id_] = value
    path = tmp_path / "VivaBlock #1_gt.png"
    Image.fromarray(stored).save(path)
    table = tmp_path / "authors.yaml"
    names = "0: non-lesion, 1: artifact, 2: ring, 3: nested, 4: meshwork, 5: patternless, 7: unlabelled"
    table.write_text(f"ids: {{{names}}}")
    split = tmp_path / "test_1.txt"
    split.write_text("VivaBlock #1.png\nanother\n")

    done, labels = bring(path, split, table=table)

    assert np.array_equal(labels, truth())
    assert read_dataset(tmp_path / "root").entries[0].split == "test"
    assert done[1].notes == ["'another' is no mosaic of the data set"]


def test_values_that_mean_nothing_are_counted_and_located(tmp_path: Path, mosaic: Path) -> None:
    path = tmp_path / "VivaBlock #1_gt.png"
    stored = np.zeros(SHAPE, np.uint8)
    stored[3, 4:6] = 7
    Image.fromarray(stored).save(path)

    assert "7 (2 px, first at row 3, column 4); say what they mean with --table" in refused(
        [path], tmp_path / "root", mosaic
    )


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((61, 79), "+1 rows and -1 columns off"),
        ((80, 60), "turned by 90°"),
        ((15, 20), "4 times its size"),
        ((40, 70), "another mosaic"),
    ],
)
def test_a_mask_of_another_size_is_refused_with_what_would_fit(
    size: tuple[int, int], words: str, tmp_path: Path, mosaic: Path
) -> None:
    path = tmp_path / "VivaBlock #1_gt.png"
    Image.fromarray(np.zeros(size, np.uint8)).save(path)

    assert words in refused([path], tmp_path / "root", mosaic)


# Tiles and VivaScope.


@pytest.mark.parametrize("first", [0, 1])
def test_tiles_sorted_into_folders_are_weak_labels(first: int, tmp_path: Path, mosaic: Path) -> None:
    folder = tmp_path / "sorted"
    expected = np.full(SHAPE, UNLABELLED, np.uint8)
    for word, id_, row, col in (("Ring", 3, 0, 0), ("clods", 4, 1, 2), ("Ring", 3, 2, 3)):
        (folder / word).mkdir(parents=True, exist_ok=True)
        rows, cols = slice(20 * row, 20 * row + 20), slice(20 * col, 20 * col + 20)
        tile = read_image(mosaic)[rows, cols]
        Image.fromarray(tile).save(folder / word / f"VivaBlock #1_r{row + first}_c{col + first}.png")
        expected[rows, cols] = id_
    (folder / "other things").mkdir()

    _, done = import_labels([folder], tmp_path / "root", [mosaic])

    assert done[0].weak
    assert done[0].notes == ["folder 'other things' is of no known class and was left out"]
    entry = read_dataset(tmp_path / "root").entries[0]
    assert entry.label is not None
    assert entry.label.name == "VivaBlock #1.weak.png"
    assert np.array_equal(read_labels(entry.label, RCM_CLASSES, SHAPE), expected)


def test_a_vivablock_loses_its_strip_of_text_and_gets_its_pixel_size(tmp_path: Path) -> None:
    folder = tmp_path / "case 7" / "VivaBlock #2"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(2).integers(0, 255, (1044, 1000), np.uint8)
    pixels[1000:] = 0
    cv2.putText(pixels[1000:], "v0000012.bmp 45.1 um", (20, 30), cv2.FONT_HERSHEY_PLAIN, 2, 255)
    Image.fromarray(pixels).save(folder / "mosaic.bmp")

    _, done = import_labels([folder], tmp_path / "root")

    assert [each.outcome for each in done] == ["mosaic added"]
    entry = read_dataset(tmp_path / "root").entries[0]
    assert (entry.mosaic, entry.pixel_size_um, entry.label) == ("mosaics/case 7 VivaBlock #2.tif", 0.5, None)
    assert np.array_equal(read_image(entry.image), pixels[:1000])


def test_what_is_said_of_new_mosaics_is_in_the_manifest(mosaic: Path, tmp_path: Path) -> None:
    path = tmp_path / "VivaBlock #1_labels.png"
    Image.fromarray(truth()).save(path)
    said: dict[str, Any] = {"patient": "p1", "site": "back", "pixel_size_um": 0.75}
    import_labels([path], tmp_path / "root", [mosaic], **said)
    import_labels([path], tmp_path / "root", [mosaic], patient="p2", pixel_size_um=3)  # it is not new
    (entry,) = read_dataset(tmp_path / "root").entries
    assert (entry.patient, entry.site, entry.pixel_size_um) == ("p1", "back", 0.75)


def test_numbered_frames_lie_on_their_grid_and_lose_their_text(tmp_path: Path) -> None:
    folder = tmp_path / "case 7" / "VivaBlock #3"
    folder.mkdir(parents=True)
    whole = np.random.default_rng(2).integers(0, 255, (2000, 3000), np.uint8)
    for number in range(6):
        row, col = divmod(number, 3)
        frame = np.zeros((1044, 1000), np.uint8)
        frame[:1000] = whole[row * 1000 : (row + 1) * 1000, col * 1000 : (col + 1) * 1000]
        cv2.putText(frame[1000:], f"v{number:07d}.bmp", (20, 30), cv2.FONT_HERSHEY_PLAIN, 2, 255)
        Image.fromarray(frame).save(folder / f"v{number:07d}.bmp")

    _, done = import_labels([folder], tmp_path / "root", grid=(2, 3))

    assert [each.outcome for each in done] == ["mosaic added"]
    entry = read_dataset(tmp_path / "root").entries[0]
    assert (entry.mosaic, entry.pixel_size_um) == ("mosaics/case 7 VivaBlock #3.tif", 0.5)
    assert np.array_equal(read_image(entry.image), whole)
    import_labels([folder], tmp_path / "sized", grid=(2, 3), pixel_size_um=0.75, site="back")
    assert read_dataset(tmp_path / "sized").entries[0].pixel_size_um == 0.5, "the source knows better"
    for grid, fault in ((None, "has 6 frames, and no mosaic"), ((2, 2), "has 6 frames, not 2 × 2")):
        with pytest.raises(InputError, match=fault):
            import_labels([folder], tmp_path / "other", grid=grid)
    Image.fromarray(whole[:900, :1000]).save(folder / "v0000005.bmp")
    with pytest.raises(InputError, match="export frames of one size"):
        import_labels([folder], tmp_path / "other", grid=(2, 3))


# Into the folder.


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    path = tmp_path / "VivaBlock #1_labels.png"
    Image.fromarray(truth()).save(path)
    return path


def test_a_dry_run_writes_nothing(painted: Path, mosaic: Path, tmp_path: Path) -> None:
    _, done = import_labels([painted], tmp_path / "root", [mosaic], dry_run=True)

    assert done[0].outcome == "mosaic and labels added"
    assert done[0].areas is not None
    assert not (tmp_path / "root").exists()


def test_a_second_import_changes_nothing(painted: Path, mosaic: Path, tmp_path: Path, bring: Any) -> None:
    bring(painted, patient="7", site="back")
    before = {p: p.read_bytes() for p in (tmp_path / "root").rglob("*") if p.is_file()}

    done, _ = bring(painted)

    assert done[0].outcome == "as it was"
    assert {p: p.read_bytes() for p in (tmp_path / "root").rglob("*") if p.is_file()} == before


def test_other_labels_are_not_overwritten_unless_told_to(
    painted: Path, tmp_path: Path, mosaic: Path, bring: Any
) -> None:
    bring(painted)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(painted)

    _, done = import_labels([painted], tmp_path / "root", [mosaic])
    assert "holds other labels; move it away, or --replace" in done[0].notes[0]
    assert np.array_equal(read_labels(tmp_path / "root" / "labels" / "VivaBlock #1.png", RCM_CLASSES, SHAPE), truth())

    assert (bring(painted, replace=True)[1] == 0).all()


def test_of_what_is_refused_nothing_is_imported(painted: Path, tmp_path: Path, mosaic: Path) -> None:
    there = tmp_path / "root" / "labels" / "VivaBlock #1.png"
    there.parent.mkdir(parents=True)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(there)
    for name in ("mosaic", "mosaic_labels"):
        Image.fromarray(truth()).save(painted.parent / f"{name}.png")

    _, done = import_labels([painted, tmp_path / "mosaic_labels.png"], tmp_path / "root", [mosaic])

    assert [each.refused for each in done] == [True, False]
    assert [entry.mosaic for entry in read_dataset(tmp_path / "root").entries] == ["mosaics/mosaic.png"]
    assert [p.name for p in (tmp_path / "root" / "mosaics").iterdir()] == ["mosaic.png"]


def test_labels_of_no_mosaic_are_refused(painted: Path, tmp_path: Path) -> None:
    _, done = import_labels([painted], tmp_path / "root")

    assert "a mosaic named 'VivaBlock #1', and there is none" in done[0].notes[0]


def test_what_nobody_reads_is_one_sentence(tmp_path: Path, mosaic: Path) -> None:
    strange = tmp_path / "x.docx"
    strange.write_bytes(b"PK")

    with pytest.raises(InputError, match=r"is nothing that is understood; known are .*qupath"):
        import_labels([strange], tmp_path / "root", [mosaic])
    with pytest.raises(InputError, match="does not exist"):
        import_labels([tmp_path / "gone"], tmp_path / "root", [mosaic])


def test_a_folder_of_mosaics_and_their_labels(tmp_path: Path, mosaic: Path) -> None:
    for name in ("a", "b"):
        (mosaic.parent / f"{name}.png").write_bytes(mosaic.read_bytes())
    mosaic.unlink()
    Image.fromarray(truth()).save(mosaic.parent / "a_labels.png")
    (mosaic.parent / "b.geojson").write_text(json.dumps([feature(polygons(truth(), 3), "ring")]))

    _, done = import_labels([mosaic.parent], tmp_path / "root")

    assert [(each.mosaic, each.outcome) for each in done] == [
        ("mosaics/b.png", "mosaic and labels added"),
        ("mosaics/a.png", "mosaic and labels added"),
    ] or {each.mosaic for each in done} == {"mosaics/a.png", "mosaics/b.png"}
    assert len(read_dataset(tmp_path / "root").entries) == 2
