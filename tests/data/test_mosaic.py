import hashlib
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.data import mosaic as mosaic_module
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.intensity import Intensity, measure, to_uint8
from rcm_cascade.data.manifest import Dataset, MosaicEntry, read_dataset, write_dataset
from rcm_cascade.data.mosaic import Mosaic, open_dataset_mosaics, open_mosaic, resolve_working_pixel_size
from rcm_cascade.data.resample import ResolutionWarning, majority_resample, resize_image
from rcm_cascade.errors import InputError

Maker = Callable[..., NDArray[Any]]


@pytest.fixture
def picture(make_texture: Maker) -> NDArray[np.uint8]:
    return make_texture(300, 420)


@pytest.fixture
def labels(make_labels: Maker) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = make_labels(300, 420)
    return result


@pytest.fixture
def root(tmp_path: Path, picture: NDArray[np.uint8], labels: NDArray[np.uint8], classes: ClassTable) -> Path:
    """Three mosaics: 0.5 µm stated in the TIFF and labelled, a PNG without pixel size, one of 16 bit."""
    folder = tmp_path / "set"
    (folder / "labels").mkdir(parents=True)
    tifffile.imwrite(
        folder / "a.tif", picture, compression="lzw", resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )
    Image.fromarray(picture[::-1].copy()).save(folder / "b.png")
    tifffile.imwrite(folder / "c.tif", picture.astype(np.uint16) * 13 + 400)
    Image.fromarray(labels).save(folder / "labels" / "a.png")
    write_dataset(
        folder,
        name="set",
        classes=classes,
        rows=[
            {"mosaic": "a.tif", "label": "labels/a.png", "patient": "p1", "site": "arm"},
            {"mosaic": "b.png", "pixel_size_um": 1.0},
            {"mosaic": "c.tif"},
        ],
        pixel_size_um=2.0,
    )
    return folder


def open_a(root: Path, classes: ClassTable, cache: MosaicCache, **options: Any) -> Mosaic:
    given = {"label": root / "labels" / "a.png", "working_pixel_size_um": 1.0, **options}
    entry = MosaicEntry("a.tif", root / "a.tif", given.pop("label"), patient="p1", site="arm")
    return open_mosaic(entry, classes, cache, **given)


def test_on_its_own_grid(
    root: Path, classes: ClassTable, cache: MosaicCache, picture: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    for working in (None, 0.5):
        mosaic = open_a(root, classes, cache, working_pixel_size_um=working)
        np.testing.assert_array_equal(mosaic.image, picture)
        np.testing.assert_array_equal(mosaic.labels, labels)
        assert mosaic.native_image is mosaic.image
        assert mosaic.native_labels is mosaic.labels
        assert isinstance(mosaic.image, np.memmap)
        assert isinstance(mosaic.labels, np.memmap)
        assert (mosaic.native_shape, mosaic.working_pixel_size_um) == ((300, 420), working)
        assert (mosaic.native_pixel_size_um, mosaic.pixel_size_source) == (0.5, "file")
        assert mosaic.intensity == measure(picture)
        assert (mosaic.name, mosaic.patient, mosaic.site) == ("a.tif", "p1", "arm")


def test_on_the_working_grid(
    root: Path, classes: ClassTable, cache: MosaicCache, picture: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    mosaic = open_a(root, classes, cache, working_pixel_size_um=0.8)
    shape = (188, 262)
    np.testing.assert_array_equal(mosaic.image, resize_image(picture, shape))
    np.testing.assert_array_equal(mosaic.labels, majority_resample(labels, shape))
    np.testing.assert_array_equal(mosaic.native_image, picture)
    np.testing.assert_array_equal(mosaic.native_labels, labels)
    assert isinstance(mosaic.native_image, np.memmap)
    assert (mosaic.native_shape, mosaic.native_pixel_size_um, mosaic.working_pixel_size_um) == ((300, 420), 0.5, 0.8)
    assert mosaic.intensity == measure(mosaic.image)
    plain = open_a(root, classes, cache, normalisation="none")
    assert plain.intensity == Intensity(0.0, 255.0)
    assert plain.image.shape == (150, 210)


def test_without_labels(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    for working in (None, 1.0):
        mosaic = open_a(root, classes, cache, label=None, working_pixel_size_um=working)
        assert mosaic.labels is None
        assert mosaic.native_labels is None


def test_sixteen_bit(root: Path, classes: ClassTable, cache: MosaicCache, picture: NDArray[np.uint8]) -> None:
    mosaic = open_mosaic(MosaicEntry("c.tif", root / "c.tif"), classes, cache, None)
    np.testing.assert_array_equal(mosaic.image, to_uint8(picture.astype(np.uint16) * 13 + 400))
    assert mosaic.image.max() == 255
    assert (mosaic.name, mosaic.patient) == ("c.tif", "c.tif")


def test_opened_again_nothing_is_decoded_and_it_takes_milliseconds(
    root: Path, classes: ClassTable, cache: MosaicCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_a(root, classes, cache)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("decoded again")

    for name in ("read_image", "read_labels", "resize_image", "majority_resample"):
        monkeypatch.setattr(mosaic_module, name, forbidden)
    started = time.perf_counter()
    for _ in range(10):
        again = open_a(root, classes, cache)
    assert (time.perf_counter() - started) / 10 < 0.05
    np.testing.assert_array_equal(again.image, first.image)
    assert again.intensity == first.intensity


def test_a_changed_file_is_decoded_again(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    first = open_a(root, classes, cache)
    Image.fromarray(np.zeros((300, 420), np.uint8)).save(root / "labels" / "a.png")
    again = open_a(root, classes, cache)
    assert again.labels is not None
    assert not again.labels.any()
    assert first.labels is not None
    assert first.labels.any()
    tifffile.imwrite(root / "a.tif", np.asarray(first.image), resolution=(10000, 10000), resolutionunit="CENTIMETER")
    with pytest.raises(InputError, match="its mosaic 150 × 210 px"):
        open_a(root, classes, cache)


def test_what_was_decoded_wrongly_before_is_not_served_again(
    root: Path, classes: ClassTable, cache: MosaicCache, picture: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    def before(*parts: object) -> Path:
        """Where the cache of format 2 kept an array."""
        key = hashlib.sha256("\0".join(map(str, (2, *parts))).encode()).hexdigest()
        return cache.folder / key[:2] / f"{key}.npy"

    image = before("image", cache.content(root / "a.tif"))
    wrong = before("labels", cache.content(root / "labels" / "a.png"), len(classes), picture.shape)
    for path, array in ((image, 255 - picture), (wrong, np.zeros_like(labels))):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    mosaic = open_a(root, classes, cache, working_pixel_size_um=None)
    np.testing.assert_array_equal(mosaic.native_image, picture)
    np.testing.assert_array_equal(mosaic.native_labels, labels)


def test_a_resolution_for_print_gives_way_to_the_data_sets(
    root: Path, classes: ClassTable, cache: MosaicCache, picture: NDArray[np.uint8]
) -> None:
    tifffile.imwrite(root / "b.tif", picture, resolution=(300, 300), resolutionunit="INCH", metadata=None)
    with pytest.warns(ResolutionWarning, match="are those of a print"):
        mosaic = open_mosaic(MosaicEntry("b.tif", root / "b.tif"), classes, cache, None, default_pixel_size_um=0.5)
    assert (mosaic.native_pixel_size_um, mosaic.pixel_size_source) == (0.5, "dataset")


def test_a_label_map_is_checked_against_each_class_table(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    open_a(root, classes, cache)
    with pytest.raises(
        InputError, match=r"holds 2 \(.* px, first at row 0, column 4\); expected class ids 0–1 and 255"
    ):
        open_a(root, ClassTable(classes.classes[:2]), cache)


def test_pickles_by_path(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    for working in (None, 1.0):
        mosaic = open_a(root, classes, cache, working_pixel_size_um=working)
        raw = pickle.dumps(mosaic)
        assert len(raw) < 5000
        copy = pickle.loads(raw)
        assert isinstance(copy.image, np.memmap)
        assert not copy.image.flags.writeable
        np.testing.assert_array_equal(copy.image, mosaic.image)
        np.testing.assert_array_equal(copy.labels, mosaic.labels)
        np.testing.assert_array_equal(copy.native_labels, mosaic.native_labels)
        assert (copy.name, copy.intensity, copy.native_shape) == (mosaic.name, mosaic.intensity, mosaic.native_shape)


def test_in_memory(picture: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    mosaic = Mosaic("m", "m", "", picture, labels, measure(picture), picture, labels)
    copy = pickle.loads(pickle.dumps(mosaic))
    np.testing.assert_array_equal(copy.image, picture)
    np.testing.assert_array_equal(copy.native_image, picture)
    np.testing.assert_array_equal(copy.native_labels, labels)


def test_a_part_of_a_map_pickles_as_the_part(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    mosaic = open_a(root, classes, cache)
    part = replace(mosaic, image=mosaic.image[20:60, 30:80], labels=None)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).image, mosaic.image[20:60, 30:80])


def test_crops_are_fast(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    image = open_a(root, classes, cache, working_pixel_size_um=None).image
    corners = np.random.default_rng(0).integers(0, 300 - 128, (2000, 2)).tolist()
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        for top, left in corners:
            np.array(image[top : top + 128, left : left + 128])
        best = max(best, len(corners) / (time.perf_counter() - started))
    assert best > 10_000  # crops a second


def test_an_unknown_pixel_size(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    entry = MosaicEntry("b.png", root / "b.png")
    with pytest.raises(
        InputError, match=r"pixel size of .*b\.png is not known and the working one is 1 µm; add pixel_"
    ):
        open_mosaic(entry, classes, cache, 1.0)
    given = open_mosaic(entry, classes, cache, 0.7, default_pixel_size_um=0.7)
    assert (given.native_pixel_size_um, given.pixel_size_source) == (0.7, "dataset")
    assert given.image.shape == (300, 420)
    native = open_mosaic(entry, classes, cache, None)
    assert (native.native_pixel_size_um, native.pixel_size_source) == (None, "unknown")


def test_coarse_mosaics_warn_each_time_or_are_refused(root: Path, classes: ClassTable, cache: MosaicCache) -> None:
    for _ in range(2):
        with pytest.warns(ResolutionWarning, match=r"a\.tif has pixels of 0\.5 µm and is enlarged 2 times"):
            mosaic = open_a(root, classes, cache, working_pixel_size_um=0.25)
    assert mosaic.image.shape == (600, 840)
    assert mosaic.labels is not None
    assert mosaic.labels.shape == (600, 840)
    with pytest.raises(InputError, match=r"a\.tif .* would be enlarged 5 times"):
        open_a(root, classes, cache, working_pixel_size_um=0.1)


def test_of_a_data_set(
    root: Path, cache: MosaicCache, picture: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = read_dataset(root)
    with pytest.warns(ResolutionWarning, match=r"c\.tif"):
        a, b, c = open_dataset_mosaics(dataset, dataset.entries, working_pixel_size_um=1.0, cache=cache)
    assert [m.name for m in (a, b, c)] == ["a.tif", "b.png", "c.tif"]
    assert [m.patient for m in (a, b, c)] == ["p1", "b.png", "c.tif"]
    assert [m.pixel_size_source for m in (a, b, c)] == ["file", "manifest", "dataset"]
    assert [m.image.shape for m in (a, b, c)] == [(150, 210), (300, 420), (600, 840)]
    assert a.site == "arm"
    assert a.labels is not None
    assert b.labels is None
    np.testing.assert_array_equal(b.image, picture[::-1])
    assert "opening mosaics: 3 mosaics" in capfd.readouterr().err
    (only,) = open_dataset_mosaics(
        dataset, dataset.entries[1:2], working_pixel_size_um=1.0, cache=cache, normalisation="none"
    )
    assert only.intensity == Intensity(0.0, 255.0)


def test_the_working_pixel_size(root: Path) -> None:
    dataset = read_dataset(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_working_pixel_size(dataset) == 1.0
        assert resolve_working_pixel_size(dataset, 0.7) == 0.7
        assert resolve_working_pixel_size(dataset, "native") is None
        given = replace(dataset, working_pixel_size_um=0.5)
        assert resolve_working_pixel_size(given) == 0.5
        assert resolve_working_pixel_size(given, 2.0) == 2.0
        assert resolve_working_pixel_size(replace(given, working_pixel_size_um="native")) is None
        bare = replace(dataset, pixel_size_um=None)
        assert resolve_working_pixel_size(keep(bare, "a.tif")) == 1.0  # the file states it
        assert resolve_working_pixel_size(keep(bare, "b.png")) == 1.0  # the manifest does
    with pytest.warns(ResolutionWarning, match="states no pixel size; mosaics are worked on as they are"):
        assert resolve_working_pixel_size(keep(bare, "c.tif")) is None


def keep(dataset: Dataset, mosaic: str) -> Dataset:
    return replace(dataset, entries=tuple(entry for entry in dataset.entries if entry.mosaic == mosaic))


@pytest.mark.slow
def test_the_real_data(real_data: Path, tmp_path: Path) -> None:
    cache = MosaicCache(tmp_path / "cache")
    axon, aerial = (read_dataset(real_data / name) for name in ("axon-sem", "aerial"))
    assert (resolve_working_pixel_size(axon), resolve_working_pixel_size(aerial)) == (0.13, None)
    with pytest.warns(ResolutionWarning, match="sub-rat1"):
        mosaics = open_dataset_mosaics(axon, axon.entries, working_pixel_size_um=0.13, cache=cache)
    for mosaic in mosaics:
        assert mosaic.native_pixel_size_um is not None
        assert mosaic.image.shape[0] == round(mosaic.native_shape[0] * mosaic.native_pixel_size_um / 0.13)
        assert mosaic.labels is not None
        assert set(np.unique(mosaic.labels)) == {0, 1, 2}
    for _ in range(2):
        started = time.perf_counter()
        mosaics = open_dataset_mosaics(aerial, aerial.entries, working_pixel_size_um=None, cache=cache)
        seconds = time.perf_counter() - started
    assert seconds < 0.5  # 84 MP, the second time
    assert [mosaic.image.shape for mosaic in mosaics[3:]] == [(6184, 5450), (4438, 6447)]
    assert [mosaic.pixel_size_source for mosaic in mosaics] == ["unknown"] * 3 + ["file", "unknown"]
