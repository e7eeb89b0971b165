from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.speed.contenders import Annotating, bare_sides, contenders, grow, recomputation
from experiments.speed.mosaics import write_mosaic
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, open_backend
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.models.checkpoint import HEADER, NETWORK_PREFIX, CheckpointHeader
from tests.annotate.telling import noise, telling_network

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def header() -> CheckpointHeader:
    return CheckpointHeader(
        model=telling_network(torch.float32).arguments, classes=RCM_CLASSES, working_pixel_size_um=2.0
    )


def test_seconds_are_of_a_megapixel_and_labels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    times, labels = iter([1.0, 3.0]), np.zeros((2, 2), np.uint8)
    monkeypatch.setattr("experiments.speed.contenders.stopwatch", lambda device: next(times))

    way = Annotating(lambda: labels, 0.5, CPU)

    assert way() == 4.0
    assert way.labels is labels


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((4096, 6000), [512, 1024, 1536, 2048]), ((1100, 3000), [512, 1024]), ((300, 270), [256])],
)
def test_the_bare_network_runs_on_squares_that_the_mosaic_holds(shape: tuple[int, int], sides: list[int]) -> None:
    assert bare_sides(shape) == sides


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_everyone_annotates_the_same_mosaic(backend: str, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    pytest.importorskip(backend)
    image = noise(200, 240, seed=91)
    write_mosaic(tmp_path / "m.tif", image, 2.0)
    annotator = Annotator(telling_network(torch.float32), header())

    ways = contenders(annotator, image, tmp_path / "m.tif", ["fp32"], backend)

    names = ["ours, fp32", "bare 192 px, fp32", "MONAI 0.25, fp32", "MONAI 0.5, fp32", "MONAI as it comes, torch fp32"]
    assert list(ways) == names
    assert all(way() > 0 for way in ways.values())
    bare = ways.pop("bare 192 px, fp32")
    assert bare.labels is None
    assert bare.megapixels == pytest.approx(192**2 / 1e6)
    for way in ways.values():
        assert way.labels.shape == image.shape
        assert way.megapixels == pytest.approx(image.size / 1e6)
        assert len(np.unique(way.labels)) == 6
        # MONAI pads one window with zeros where we replicate, and both see the same inside
        assert (way.labels == ways["ours, fp32"].labels)[:100, :100].mean() > 0.5
    assert (tmp_path / "m.tif").is_file()


def test_recomputation_is_more_than_none_and_grows_as_strips_shrink() -> None:
    backend = open_backend(telling_network(torch.float32), "torch", "fp32")

    large, small = recomputation(backend, (2048, 2048)), recomputation(backend, (128, 128))

    assert 1 <= large < 1.2
    assert large < small


@pytest.mark.slow
def test_growth_is_measured_in_processes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = telling_network(torch.float32)
    state = {NETWORK_PREFIX + key: value for key, value in network.state_dict().items()}
    torch.save({HEADER: header().to_plain(), "state_dict": state}, tmp_path / "best.ckpt")

    shapes = [(64, 80), (128, 160)]
    found = grow(tmp_path / "best.ckpt", noise(60, 70, seed=93), 2.0, shapes, AnnotationOptions(precision="fp32"))

    assert [g.megapixels for g in found] == pytest.approx([h * w / 1e6 for h, w in shapes])
    assert all(g.seconds > 0 and min(g.read_share, g.network_share, g.write_share) > 0 for g in found)
    assert all(g.read_share + g.network_share + g.write_share <= 1 for g in found)
    assert all(5e7 < g.peak_bytes < 2e10 for g in found)
    assert capsys.readouterr().err.count("MP:") == 2
