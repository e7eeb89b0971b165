from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.speed import contenders as speed_contenders
from experiments.speed.contenders import (
    Contender,
    bare_sides,
    contenders,
    floor_s_per_mp,
    grow,
    interleave,
    recomputation,
)
from experiments.speed.mosaics import write_mosaic
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import open_backend
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.models.checkpoint import HEADER, NETWORK_PREFIX, CheckpointHeader
from rcm_cascade.models.summary import summarise_network
from tests.annotate.telling import noise, telling_network

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def header() -> CheckpointHeader:
    return CheckpointHeader(
        model=telling_network(torch.float32).arguments, classes=RCM_CLASSES, working_pixel_size_um=2.0
    )


def test_contenders_run_in_turn_and_the_median_counts(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def runner(name: str) -> Any:
        def run() -> tuple[NDArray[np.uint8], float]:
            order.append(name)
            return np.full((2, 2), len(order), np.uint8), 0.5

        return run

    runs = [Contender("a", runner("a")), Contender("b", runner("b"))]
    interleave(runs, 3, CPU)

    assert order == ["a", "b"] * 3
    assert [len(c.seconds) for c in runs] == [3, 3]
    assert runs[1].labels is not None
    assert runs[1].labels[0, 0] == 2  # of the first round
    assert "round 3: b" in capsys.readouterr().err
    runs[0].seconds = [1.0, 9.0, 2.0]
    assert runs[0].per_megapixel == 4.0


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

    runs = contenders(annotator, image, tmp_path / "m.tif", ["fp32"], backend)
    interleave(runs, 1, CPU)

    names = ["ours, fp32", "bare 192 px, fp32", "MONAI 0.25, fp32", "MONAI 0.5, fp32", "MONAI as it comes, torch fp32"]
    assert [c.name for c in runs] == names
    assert runs[1].labels is None
    assert runs[1].megapixels == pytest.approx(192**2 / 1e6)
    for run in (runs[0], *runs[2:]):
        assert run.labels is not None
        assert run.labels.shape == image.shape
        assert run.megapixels == pytest.approx(image.size / 1e6)
        assert len(np.unique(run.labels)) == 6
        assert runs[0].labels is not None
        # MONAI pads one window with zeros where we replicate, and both see the same inside
        assert (run.labels == runs[0].labels)[:100, :100].mean() > 0.5
    assert (tmp_path / "m.tif").is_file()


def test_recomputation_is_more_than_none_and_grows_as_strips_shrink() -> None:
    backend = open_backend(telling_network(torch.float32), "torch", "fp32")

    large, small = recomputation(backend, (2048, 2048)), recomputation(backend, (128, 128))

    assert 1 <= large < 1.2
    assert large < small


def test_the_floor_is_all_operations_at_one_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_contenders, "matmul_rate", lambda device, dtype: 2e9)
    operations = sum(s.gflop_per_mp for s in summarise_network(telling_network(torch.float32).arguments)) * 1e9
    assert operations > 1e9

    found = floor_s_per_mp(Annotator(telling_network(torch.float32), header()), torch.float32)

    assert found[0] == pytest.approx(operations / 2e9)
    assert found[1] == 2e9


@pytest.mark.slow
def test_growth_is_measured_in_processes_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = telling_network(torch.float32)
    state = {NETWORK_PREFIX + key: value for key, value in network.state_dict().items()}
    torch.save({HEADER: header().to_plain(), "state_dict": state}, tmp_path / "best.ckpt")

    shapes = [(64, 80), (128, 160)]
    found = grow(tmp_path / "best.ckpt", noise(60, 70, seed=93), 2.0, shapes, {"precision": "fp32"})

    assert [g.megapixels for g in found] == pytest.approx([h * w / 1e6 for h, w in shapes])
    assert all(0 < g.write_share < 1 and g.seconds > 0 for g in found)
    assert all(5e7 < g.peak_bytes < 2e10 for g in found)
    assert capsys.readouterr().err.count("MP:") == 2
