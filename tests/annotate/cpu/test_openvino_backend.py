from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate import engine, tiling
from rcm_cascade.annotate.backends import AnnotationOptions, Backend, open_backend
from rcm_cascade.annotate.cpu.strips import StripBackend
from rcm_cascade.annotate.engine import annotate_image, level_pieces, plan
from rcm_cascade.data.intensity import measure
from tests.annotate.telling import noise, telling_network, whole

pytest.importorskip("openvino")
from rcm_cascade.annotate.cpu.openvino_backend import KEPT_SIZES, OpenVinoBackend

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = 1e-5


@pytest.fixture(scope="module")
def backend() -> OpenVinoBackend:
    made = open_backend(telling_network(torch.float32), backend="openvino", precision="fp32")
    assert isinstance(made, OpenVinoBackend)
    return made


def differences(backend: Backend, image: NDArray[np.uint8], tile: int | None) -> list[float]:
    """Largest difference to the whole at each level; NaN where a pixel is missing."""
    expected = whole(telling_network(torch.float32), image)
    assert image.size < 4 or expected[-1].std() > 0.1
    found = [torch.full_like(level, torch.nan) for level in expected]
    for piece in level_pieces(backend, image, measure(image), plan(backend, image.shape, tile)):
        found[piece.level][:, piece.rows, piece.cols] = piece.logits
    return [float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)]


@pytest.mark.parametrize(("shape", "tile"), [((1, 1), None), ((37, 50), None), ((150, 43), 48)])
def test_streamed_equals_whole(backend: Backend, shape: tuple[int, int], tile: int | None) -> None:
    assert max(differences(backend, noise(*shape, seed=1), tile)) < EXACT


def test_several_bands_equal_whole(backend: StripBackend) -> None:
    image = noise(50, 400, seed=2)
    assert [len(p.bands) for p in plan(backend, image.shape, 64)] == [1, 2, 4]

    assert max(differences(backend, image, 64)) < EXACT


def test_auto_takes_openvino_for_float32_on_the_cpu_and_torch_for_float64() -> None:
    assert open_backend(telling_network(torch.float32)).name == "openvino"
    assert open_backend(telling_network()).name == "torch"


def test_labels_are_those_of_torch_but_for_ties() -> None:
    model, image = telling_network(torch.float32), noise(70, 90, seed=3)

    annotation = annotate_image(model, image, AnnotationOptions(precision="fp32", backend="openvino"))

    assert (annotation.backend, annotation.precision, annotation.device) == ("openvino", "fp32", "cpu")
    logits = whole(model, image)[-1]
    best, second = logits.topk(2, dim=0).values
    changed = annotation.labels != logits.argmax(0).numpy()
    assert ((best - second).numpy()[changed] < 1e-3).all()
    assert changed.sum() <= 1


def test_two_streams_of_one_level_do_not_mix(backend: StripBackend) -> None:
    generator = torch.Generator().manual_seed(4)
    pictures = [torch.randn((1, 1, 32, 16), generator=generator) for _ in range(2)]
    streams = [backend.stream(0, width=16, height=32) for _ in pictures]
    outputs: list[list[Tensor]] = [[], []]

    with torch.inference_mode():
        for strip in range(2):
            for x, stream, output in zip(pictures, streams, outputs, strict=True):
                output.append(stream.feed(x if not strip else torch.zeros_like(x)))
        expected = [telling_network(torch.float32).levels[0](x) for x in pictures]

    for output, right in zip(outputs, expected, strict=True):
        assert right.std() > 0.1
        assert (torch.cat(output, dim=2)[:, :, 22 : 22 + 32] - right).abs().max() < EXACT


def test_what_is_kept_may_lie_in_memory_in_any_order(backend: StripBackend) -> None:
    # What is not contiguous is copied for the network, and the copies must last until it has run.
    level, width, generator = backend._encoders[1], 512, torch.Generator().manual_seed(5)
    shapes = [(1, s.channels, s.kept, width >> s.pooling) for s in level.stages]
    kept = [torch.randn(shape, generator=generator) for shape in shapes]
    scattered = [k.contiguous(memory_format=torch.channels_last) for k in kept]
    assert not any(k.is_contiguous() for k in scattered)
    x = torch.randn((1, level.stages[0].channels, 16, width), generator=generator)

    def encoded(kept: list[Tensor], strip: Tensor) -> list[Tensor]:
        return [tensor.clone() for tensor in backend.compute(1, width, "encoder", 16, False, [strip, *kept])]

    expected = encoded(kept, x)
    assert all(e.std() > 0.01 for e in expected)
    for a, b in zip(encoded(scattered, x.contiguous(memory_format=torch.channels_last)), expected, strict=True):
        assert torch.equal(a, b)


def test_graphs_are_compiled_once_for_each_level_size_and_share_of_the_threads(backend: OpenVinoBackend) -> None:
    first = backend._compiled(1, 0, 8, "encoder", 32, True)

    assert backend._compiled(1, 0, 8, "encoder", 32, True) is first
    others = (1, 0, 12, 32), (1, 1, 8, 32), (1, 0, 8, 16), (2, 0, 8, 32)
    for streams, level, width, rows in others:
        assert backend._compiled(streams, level, width, "encoder", rows, True) is not first


def test_bands_that_run_at_a_time_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "WORTH_CUTTING", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model, image = telling_network(torch.float32), noise(61, 417, seed=9)
    backend = open_backend(model, backend="openvino", precision="fp32")
    assert backend.streams == 2
    monkeypatch.setattr(engine, "STRIP_PIXELS", {"cpu": 2**13})
    fine = plan(backend, image.shape)[-1]
    assert len(fine.bands) >= 2
    assert len(list(fine.strips(94))) > 3

    assert max(differences(backend, image, None)) < EXACT


def test_bf16_stays_near_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcm_cascade.annotate.backends.has_bf16", lambda device: True)
    model, image = telling_network(torch.float32), noise(37, 50, seed=6)

    annotation = annotate_image(model, image, AnnotationOptions(precision="bf16", backend="openvino"))

    assert (annotation.precision, annotation.backend) == ("bf16", "openvino")
    expected = whole(model, image)[-1]
    best, second = expected.topk(2, dim=0).values
    sure = ((best - second) > 0.2).numpy()
    assert sure.sum() > 100
    assert (annotation.labels == expected.argmax(0).numpy())[sure].mean() > 0.97


def test_graphs_are_kept_for_the_next_mosaic_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[Any, ...]] = []
    compile_graph = OpenVinoBackend._compile

    def counted(self: OpenVinoBackend, *asked: Any) -> Any:
        compiled.append(asked)
        return compile_graph(self, *asked)

    monkeypatch.setattr(OpenVinoBackend, "_compile", counted)
    backend = open_backend(telling_network(torch.float32), backend="openvino", precision="fp32")
    assert isinstance(backend, OpenVinoBackend)

    def graphs(image: NDArray[np.uint8]) -> int:
        compiled.clear()
        assert max(differences(backend, image, None)) < EXACT
        return len(compiled)

    first = graphs(noise(37, 50, seed=5))
    assert first > 0
    assert graphs(noise(37, 50, seed=6)) == 0
    assert graphs(noise(37, 90, seed=7)) == first  # another width
    assert graphs(noise(37, 50, seed=8)) == 0
    assert graphs(noise(4, 1040, seed=9)) > 0
    assert graphs(noise(4, 1040, seed=9)) == 0
    assert len(backend._ready) <= KEPT_SIZES
