import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate.backends import AnnotationOptions, Backend
from rcm_cascade.annotate.cpu.int8 import (
    ROWS,
    STRIPS,
    WIDTH,
    Int8Backend,
    Int8Report,
    RecordingBackend,
    int8_folder,
    low_strips,
    quantise,
    read_report,
)
from rcm_cascade.annotate.cpu.openvino_backend import OpenVinoBackend
from rcm_cascade.annotate.engine import annotate_image, level_pieces
from rcm_cascade.annotate.tiling import plan_levels
from rcm_cascade.data.intensity import measure
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from tests.annotate.telling import noise, telling_network

pytestmark = pytest.mark.usefixtures("one_thread")

pytest.importorskip("openvino")


def network() -> CascadedUNet:
    return telling_network(torch.float32, base_filters=4, levels=1)


def mosaic(image: NDArray[np.uint8]) -> Mosaic:
    return Mosaic("m", "m", "", image, None, measure(image), image)


def logits(backend: Backend, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of a network of one level, in strips of 64 px and one band."""
    plans = plan_levels(backend.geometry, backend.alignment, image.shape, [(64, 160)])
    found = np.full((6, *image.shape), np.nan, np.float32)
    for piece in level_pieces(backend, image, measure(image), plans):
        found[:, piece.rows, piece.cols] = piece.logits.numpy()
    return found


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file, and a folder beside it for its graphs."""
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    int8_folder(path).mkdir()
    return path


def write_report(checkpoint: Path) -> Int8Report:
    values: dict[str, tuple[float | None, float | None]] = {"a": (0.5, 0.48), "b": (None, None)}
    report = Int8Report(hashlib.sha256(checkpoint.read_bytes()).hexdigest(), 0.995, values, 2, ["x", "y"], ["z"])
    (int8_folder(checkpoint) / "report.json").write_text(json.dumps(asdict(report)))
    return report


def test_a_report_comes_back_as_it_was_written(checkpoint: Path) -> None:
    written = write_report(checkpoint)

    report = read_report(checkpoint)

    assert report is not None
    assert (report.agreement, report.calibrated_on, report.measured_on) == (0.995, ["x", "y"], ["z"])
    assert {name: tuple(pair) for name, pair in report.sensitivity.items()} == written.sensitivity


def test_a_report_of_another_checkpoint_or_format_does_not_count(checkpoint: Path) -> None:
    assert read_report(checkpoint) is None
    write_report(checkpoint)
    assert read_report(checkpoint) is not None
    checkpoint.write_bytes(b"trained further")
    assert read_report(checkpoint) is None

    checkpoint.write_bytes(b"weights")
    path = int8_folder(checkpoint) / "report.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"format": told["format"] + 1}))
    assert read_report(checkpoint) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"agreement": 1}'])
def test_a_damaged_report_does_not_count(content: str, checkpoint: Path) -> None:
    (int8_folder(checkpoint) / "report.json").write_text(content)

    assert read_report(checkpoint) is None


def test_strips_inside_the_mosaic_are_recorded_as_the_graphs_take_them() -> None:
    backend = RecordingBackend(network(), Path(), [], 0)
    image = noise(300, 200, seed=50)
    plans = plan_levels(backend.geometry, backend.alignment, image.shape, [(ROWS, 208)])

    for piece in level_pieces(backend, image, measure(image), plans):
        assert piece.logits.isfinite().all()

    for part, samples in backend.samples.items():
        assert 1 <= len(samples) < len(list(plans[0].strips(0)))  # those at the border are left out
        expected = [tuple(given.shape) for given in backend.graph(0, part, WIDTH, ROWS, False).inputs]
        assert all([array.shape for array in sample] == expected for sample in samples)
        assert all(np.ptp(sample[0]) > 0.1 for sample in samples)


def test_of_many_strips_a_draw_is_kept() -> None:
    backend = RecordingBackend(network(), Path(), [], 0)
    for value in range(10 * STRIPS):
        backend.record(WIDTH, 16, "encoder", [torch.full((1, 1, ROWS, WIDTH), float(value))], 0)
    kept = [float(sample[0][0, 0, 0, 0]) for sample in backend.samples["encoder"]]

    assert len(set(kept)) == STRIPS
    assert 2 * STRIPS < np.mean(kept) < 8 * STRIPS
    assert not backend.samples["decoder"]


def test_mosaics_too_small_to_calibrate_on_are_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(InputError, match=r"too small: level 1 sees no strip of 64 px.*--calibrate"):
        quantise(network(), [mosaic(noise(70, 200, seed=51))], tmp_path)


def test_without_nncf_int8_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)

    with pytest.raises(InputError, match=r"needs NNCF.*pip install 'rcm-cascade\[openvino\]'"):
        quantise(network(), [mosaic(noise(300, 200, seed=52))], tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_graphs_that_are_gone_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"level1-encoder\.xml cannot be read .* made again"):
        logits(Int8Backend(network(), tmp_path, [0]), noise(300, 160, seed=53))


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp("int8") / "graphs"
    quantise(network(), [mosaic(noise(300, 200, seed=54)), mosaic(noise(260, 150, seed=55))], folder)
    return folder


def test_quantised_strips_are_near_float32_but_not_it(quantised: Path) -> None:
    image = noise(300, 150, seed=56)

    found = logits(Int8Backend(network(), quantised, [0]), image)
    exact = logits(OpenVinoBackend(network(), "fp32"), image)

    assert np.isfinite(found).all()
    difference = np.abs(found - exact)
    assert np.array_equal(found[:, :20], exact[:, :20])  # at the border float32 runs
    inside = difference[:, 128:192]
    assert inside.max() > 1e-3
    assert inside.mean() < 0.1 * exact.std()
    assert (found.argmax(0) == exact.argmax(0)).mean() > 0.95
    assert not (found.argmax(0) == exact.argmax(0)).all()


@pytest.mark.parametrize("first", [0, 1])
def test_levels_before_the_first_stay_float32(first: int, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    model, image = telling_network(torch.float32, levels=2), noise(340, 280, seed=58)
    quantise(model, [mosaic(image)], tmp_path / "q", first)
    plans = low_strips(OpenVinoBackend(model, "fp32"), image.shape)

    quick, exact = (
        annotate_image(backend, image, levels=True, plans=plans).level_labels
        for backend in (Int8Backend(model, tmp_path / "q", range(first, 2)), OpenVinoBackend(model, "fp32"))
    )

    assert np.array_equal(quick[0], exact[0]) == (first == 1)
    assert not np.array_equal(quick[1], exact[1])


def test_a_level_is_calibrated_on_what_the_quantised_ones_before_it_give(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    model, image = telling_network(torch.float32, levels=2), noise(340, 280, seed=59)
    quantise(model, [mosaic(image)], tmp_path / "q")
    plans = low_strips(OpenVinoBackend(model, "fp32"), image.shape)

    def recorded(levels: list[int]) -> list[NDArray[np.float32]]:
        backend = RecordingBackend(model, tmp_path / "q", levels, 1)
        for _ in level_pieces(backend, image, measure(image), plans):
            pass
        return [sample[0] for sample in backend.samples["encoder"]]

    after_int8, after_float32 = recorded([0]), recorded([])
    assert len(after_int8) == len(after_float32) > 0
    for a, b in zip(after_int8, after_float32, strict=True):
        assert np.array_equal(a[:, 0], b[:, 0])  # the image
        assert 0 < np.abs(a[:, 1:] - b[:, 1:]).mean() < 0.1  # the prior


def test_other_widths_and_heights_run_on_the_same_graphs(quantised: Path) -> None:
    image = noise(340, 233, seed=57)

    quick = annotate_image(Int8Backend(network(), quantised, [0]), image, AnnotationOptions(tile=64))
    exact = annotate_image(OpenVinoBackend(network(), "fp32"), image, AnnotationOptions(tile=64))

    assert (quick.precision, quick.backend) == ("int8", "openvino")
    assert 0.95 < (quick.labels == exact.labels).mean() < 1


def test_quantising_says_nothing_and_graphs_are_in_8_bits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf")

    quantise(network(), [mosaic(noise(300, 200, seed=54))], tmp_path / "q")

    assert capfd.readouterr() == ("", "")
    names = {tmp_path / "q" / f"level1-{part}.xml" for part in ("encoder", "decoder")}
    assert {p for p in (tmp_path / "q").iterdir() if p.suffix == ".xml"} == names
    for path in names:
        text = path.read_text()
        assert 'element_type="i8"' in text
        assert "FakeQuantize" in text
