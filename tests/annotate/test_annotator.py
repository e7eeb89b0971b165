import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.annotate.engine import annotate_image
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.manifest import MosaicEntry
from rcm_cascade.data.mosaic import open_mosaic
from rcm_cascade.data.resample import ResolutionWarning, area_resample, nearest_resample
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import HEADER, NETWORK_PREFIX, CheckpointHeader
from tests.annotate.telling import noise, telling_network


def make(cache: MosaicCache, working_pixel_size_um: float | None = 2.0, **header: Any) -> Annotator:
    network = telling_network(torch.float32)
    header = {"model": network.arguments, "classes": RCM_CLASSES, **header}
    return Annotator(
        network, CheckpointHeader(working_pixel_size_um=working_pixel_size_um, **header), Path("c.ckpt"), "00", cache
    )


def save(path: Path, shape: tuple[int, int] = (60, 84), seed: int = 40) -> Any:
    image = noise(*shape, seed=seed)
    Image.fromarray(image).save(path)
    return image


def test_a_file_on_the_working_grid(tmp_path: Path, cache: MosaicCache) -> None:
    image = save(tmp_path / "m.png")

    result = make(cache).annotate(tmp_path / "m.png", pixel_size_um=2.0)

    expected = annotate_image(telling_network(torch.float32), image)
    assert len(np.unique(expected.labels)) == 6
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.mosaic.native_image, image)
    assert (result.mosaic.name, result.checkpoint, result.checkpoint_sha256) == ("m.png", "c.ckpt", "00")
    assert (result.pixel_size_um, result.mosaic.working_pixel_size_um) == (2.0, 2.0)
    assert result.read_s is not None
    assert result.read_s > 0
    assert result.classes is RCM_CLASSES
    assert not result.header.synthetic


@pytest.mark.parametrize("as_array", [True, False])
def test_a_finer_mosaic_is_annotated_on_the_working_grid_and_labelled_on_its_own(
    as_array: bool, tmp_path: Path, cache: MosaicCache
) -> None:
    image = save(tmp_path / "m.png", (121, 150))
    given = image if as_array else tmp_path / "m.png"

    result = make(cache).annotate(given, pixel_size_um=0.8)

    working = area_resample(image, 0.8, 2.0)
    assert working.shape == (48, 60)
    expected = annotate_image(telling_network(torch.float32), working).labels
    assert result.labels.shape == (121, 150)
    assert np.array_equal(result.annotation.labels, expected)
    assert np.array_equal(result.labels, nearest_resample(expected, (121, 150)))
    assert np.array_equal(result.mosaic.native_image, image)


@pytest.mark.parametrize("as_array", [True, False])
def test_an_unknown_pixel_size_is_assumed_with_a_warning(as_array: bool, tmp_path: Path, cache: MosaicCache) -> None:
    image = save(tmp_path / "m.png")

    with pytest.warns(ResolutionWarning, match="2 µm is assumed"):
        result = make(cache).annotate(image if as_array else tmp_path / "m.png")

    assert (result.pixel_size_um, result.mosaic.pixel_size_source) == (2.0, "assumed")
    assert result.labels.shape == image.shape


@pytest.mark.parametrize("as_array", [True, False])
def test_a_network_of_native_pixels_needs_no_pixel_size(as_array: bool, tmp_path: Path, cache: MosaicCache) -> None:
    image = save(tmp_path / "m.png")

    result = make(cache, working_pixel_size_um=None).annotate(image if as_array else tmp_path / "m.png")

    assert (result.pixel_size_um, result.mosaic.pixel_size_source) == (None, "unknown")
    assert np.array_equal(result.labels, annotate_image(telling_network(torch.float32), image).labels)


def test_a_mosaic_of_a_data_set(tmp_path: Path, cache: MosaicCache) -> None:
    save(tmp_path / "m.png", (90, 70))
    annotator = make(cache, synthetic=True)
    entry = MosaicEntry("first", tmp_path / "m.png")
    mosaic = open_mosaic(entry, RCM_CLASSES, cache, 2.0, default_pixel_size_um=1.0)

    result = annotator.annotate_mosaic(mosaic, read_s=1.5)

    assert result.mosaic.name == "first"
    assert (result.mosaic.pixel_size_source, result.read_s, result.header.synthetic) == ("dataset", 1.5, True)
    assert result.labels.shape == (90, 70)
    assert np.array_equal(result.labels, annotator.annotate(tmp_path / "m.png", pixel_size_um=1.0).labels)


@pytest.mark.parametrize("shape", [(128, 143), (61, 82)])  # 51 × 57 px on the working grid, no multiple of 4
def test_each_levels_own_map_on_the_mosaics_own_grid(
    shape: tuple[int, int], tmp_path: Path, cache: MosaicCache
) -> None:
    save(tmp_path / "m.png", shape)
    annotator = make(cache)
    mosaic = annotator.open(tmp_path / "m.png", pixel_size_um=0.8 if shape[0] > 100 else 2.0)
    seen: list[int] = []

    result = annotator.annotate_mosaic(mosaic, levels=True, observe=lambda piece: seen.append(piece.level))

    own = annotate_image(telling_network(torch.float32), mosaic.image, levels=True).level_labels
    height, width = mosaic.image.shape
    assert height % 4
    assert width % 4
    for level, factor in enumerate((4, 2, 1)):
        found = result.level_map(level)
        assert found.shape == shape
        for row, col in np.random.default_rng(level).integers(0, shape, (300, 2)):
            y, x = int((row + 0.5) * height / shape[0]), int((col + 0.5) * width / shape[1])
            assert found[row, col] == own[level][y // factor, x // factor]
    assert np.array_equal(result.level_map(2), result.labels)
    assert not np.array_equal(result.level_map(1), result.labels)
    assert set(seen) == {0, 1, 2}
    with pytest.raises(IndexError):
        annotator.annotate_mosaic(mosaic).level_map(0)


def test_a_mosaic_on_another_grid_is_refused(tmp_path: Path, cache: MosaicCache) -> None:
    save(tmp_path / "m.png")
    mosaic = make(cache).open(tmp_path / "m.png", pixel_size_um=2.0)

    with pytest.raises(InputError, match=r"open at 2 µm and the network works at 3 µm"):
        make(cache, working_pixel_size_um=3.0).annotate_mosaic(mosaic)
    with pytest.raises(InputError, match=r"the network works at its own pixel size"):
        make(cache, working_pixel_size_um=None).annotate_mosaic(mosaic)


def test_normalisation_is_the_training_s(tmp_path: Path, cache: MosaicCache) -> None:
    image = save(tmp_path / "m.png")
    plain = annotate_image(telling_network(torch.float32), image, intensity="none").labels
    assert not np.array_equal(plain, annotate_image(telling_network(torch.float32), image).labels)

    annotator = make(cache, normalisation="none")

    assert np.array_equal(annotator.annotate(image, pixel_size_um=2.0).labels, plain)
    assert np.array_equal(annotator.annotate(tmp_path / "m.png", pixel_size_um=2.0).labels, plain)


def test_options_reach_the_engine(cache: MosaicCache) -> None:
    done: list[float] = []

    result = make(cache).annotate(
        noise(70, 70, seed=41),
        AnnotationOptions(tile=32, precision="fp32", backend="torch"),
        pixel_size_um=2.0,
        progress=lambda amount: done.append(amount),
    )

    assert result.annotation.tile == ((32, 20), (32, 40), (32, 70))
    assert result.annotation.precision == "fp32"
    assert sum(done) == pytest.approx(0.0049)


def test_wrong_input_is_one_sentence(cache: MosaicCache) -> None:
    annotator, image = make(cache), noise(20, 20, seed=42)
    with pytest.raises(InputError, match="pixel size is -1 µm"):
        annotator.annotate(image, pixel_size_um=-1)
    with pytest.raises(InputError, match=r"shape \(20, 20, 1\)"):
        annotator.annotate(image[..., None], pixel_size_um=2)
    with pytest.raises(InputError, match="expected one of auto, torch"):
        annotator.annotate(image, AnnotationOptions(backend="none"), pixel_size_um=2)
    with pytest.raises(InputError, match="enlarged 20 times"):
        annotator.annotate(image, pixel_size_um=40)


def test_a_checkpoint_is_loaded_with_its_hash(tmp_path: Path, cache: MosaicCache) -> None:
    network, header = telling_network(torch.float32), make(cache, dataset="d", init="ef" * 32).header
    state = {NETWORK_PREFIX + key: value for key, value in network.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save({HEADER: header.to_plain(), "state_dict": state}, path)
    image = noise(40, 44, seed=43)

    annotator = Annotator.load(path, device="cpu", cache=cache)
    result = annotator.annotate(image, pixel_size_um=2.0)

    assert replace(annotator.header, split={}) == replace(header, split={})
    assert (result.checkpoint, result.header.init) == ("best.ckpt", "ef" * 32)
    assert result.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.array_equal(result.labels, make(cache).annotate(image, pixel_size_um=2.0).labels)


@pytest.mark.parametrize("as_array", [True, False])
def test_a_given_pixel_size_goes_before_the_file_s_and_is_told(
    as_array: bool, tmp_path: Path, cache: MosaicCache
) -> None:
    image = noise(60, 84, seed=44)
    Image.fromarray(image).save(tmp_path / "m.tif", resolution=5000.0, resolution_unit=3)  # per cm: 2 µm
    stated = make(cache).annotate(tmp_path / "m.tif")
    assert stated.pixel_size_um == pytest.approx(2.0)
    assert stated.mosaic.pixel_size_source == "file"

    result = make(cache).annotate(image if as_array else tmp_path / "m.tif", pixel_size_um=1.0)

    assert (result.pixel_size_um, result.mosaic.pixel_size_source) == (1.0, "given")
    assert result.annotation.labels.shape == (30, 42)
    assert result.labels.shape == image.shape


def test_the_source_is_told_by_its_content(tmp_path: Path, cache: MosaicCache) -> None:
    image = save(tmp_path / "m.png")

    result = make(cache).annotate(tmp_path / "m.png", pixel_size_um=2.0)

    assert result.source_sha256 == hashlib.sha256((tmp_path / "m.png").read_bytes()).hexdigest()
    assert make(cache).annotate(image, pixel_size_um=2.0).source_sha256 == ""


def test_less_memory_reaches_the_engine(cache: MosaicCache) -> None:
    image = noise(150, 260, seed=45)

    little = make(cache).annotate(image, AnnotationOptions(memory=10**6, backend="torch"), pixel_size_um=2.0)
    plenty = make(cache).annotate(image, AnnotationOptions(backend="torch"), pixel_size_um=2.0)

    assert little.annotation.tile[-1] < plenty.annotation.tile[-1]
    assert np.mean(little.labels == plenty.labels) > 0.999


def test_what_is_prepared_is_kept_and_used(cache: MosaicCache, monkeypatch: pytest.MonkeyPatch) -> None:
    annotator = make(cache)

    options = AnnotationOptions(precision="fp32", backend="torch")

    prepared = annotator.prepare(options)
    assert annotator.prepare(replace(options, tile=32)) is prepared
    assert annotator.prepare(replace(options, precision="auto")) is not prepared

    monkeypatch.setattr("rcm_cascade.annotate.annotator.open_backend", None)  # would fail if it were opened again
    result = annotator.annotate(noise(20, 30, seed=46), options, pixel_size_um=2.0)
    assert (result.annotation.precision, result.annotation.backend) == ("fp32", "torch")


def test_int8_of_a_network_that_was_not_quantised_is_refused(cache: MosaicCache, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    annotator = make(cache)
    with pytest.raises(InputError, match=r"checkpoint .*c\.ckpt has not been quantised"):
        annotator.prepare(AnnotationOptions(precision="int8"))

    annotator.checkpoint = tmp_path / "c.ckpt"
    (tmp_path / "c.int8").mkdir()  # a folder without a report: quantising was interrupted
    with pytest.raises(InputError, match=r"checkpoint .*c\.ckpt has not been quantised"):
        annotator.prepare(AnnotationOptions(precision="int8"))


def test_int8_on_torch_or_without_openvino_is_refused(cache: MosaicCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="int8 is OpenVINO's"):
        make(cache).prepare(AnnotationOptions(precision="int8", backend="torch"))
    monkeypatch.setattr("rcm_cascade.annotate.cpu.has_openvino", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'rcm-cascade\[openvino\]'"):
        make(cache).prepare(AnnotationOptions(precision="int8"))
