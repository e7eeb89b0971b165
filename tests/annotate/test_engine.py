"""What annotate_image makes of a mosaic's levels."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rcm_cascade.annotate import engine
from rcm_cascade.annotate.backends import AnnotationOptions, has_bf16, open_backend
from rcm_cascade.annotate.cpu.strips import LevelStream
from rcm_cascade.annotate.engine import (
    Annotation,
    LevelPiece,
    annotate_image,
    class_ids,
    entropy_bytes,
    plan,
    tensor_on_disk,
)
from rcm_cascade.data.intensity import to_uint8
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.calibration import LogitSampler
from rcm_cascade.models import CascadedUNet
from tests.annotate.telling import network_input, noise, telling_network, whole

pytestmark = pytest.mark.usefixtures("one_thread")


def test_labels_of_every_level_on_request() -> None:
    model, image = telling_network(), noise(50, 67, seed=12)

    annotation = annotate_image(model, image, AnnotationOptions(tile=32), levels=True)

    for labels, logits in zip(annotation.level_labels, whole(model, image), strict=True):
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, logits.argmax(0).numpy())
    assert np.array_equal(annotation.labels, annotation.level_labels[-1])
    assert annotation.tile == ((32, 20), (32, 40), (32, 67))  # at the borders bands are wider
    assert annotation.precision == "fp64"
    assert (annotation.backend, annotation.device) == ("torch", "cpu")
    assert annotation.seconds > 0
    assert annotation.factors == (4, 2, 1)
    assert annotate_image(model, image).level_labels == ()


def test_labels_are_the_final_map_s_where_the_finest_level_is_not() -> None:
    model, image = telling_network(prior="none"), noise(50, 67, seed=12)

    annotation = annotate_image(model, image, AnnotationOptions(tile=32), levels=True)

    with torch.inference_mode():
        final = model.predict(network_input(image, torch.float64))[0].argmax(0).numpy()
    assert np.array_equal(annotation.labels, final)
    for labels, logits in zip(annotation.level_labels, whole(model, image), strict=True):
        assert np.array_equal(labels, logits.argmax(0).numpy())
    assert np.mean(annotation.labels != annotation.level_labels[-1]) > 0.01
    assert np.array_equal(annotate_image(model, image).labels, final)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_entropy_is_that_of_one_pass_at_the_temperature(temperature: float) -> None:
    model, image = telling_network(), noise(50, 67, seed=12)

    annotation = annotate_image(model, image, AnnotationOptions(tile=32), temperature=temperature)

    log = (whole(model, image)[-1] / temperature).log_softmax(dim=0)
    share = (-(log.exp() * log).sum(dim=0) / np.log(len(log))).numpy()
    assert annotation.entropy is not None
    assert annotation.entropy.dtype == np.uint8
    assert np.abs(annotation.entropy / 255 - share).max() <= 0.5 / 255 + 1e-6
    assert annotation.entropy.std() > 1
    assert np.array_equal(annotation.labels, annotate_image(model, image).labels)
    assert annotate_image(model, image).entropy is None


def test_entropy_of_what_is_sure_and_of_what_is_undecided() -> None:
    sure = torch.tensor([200.0, 0.0, -300.0])[:, None, None]
    assert entropy_bytes(sure, 1.0).tolist() == [[0]]
    assert entropy_bytes(torch.zeros(6, 2, 1, dtype=torch.bfloat16), 1.0).tolist() == [[255], [255]]
    assert entropy_bytes(torch.ones(1, 1, 2), 1.0).tolist() == [[0, 0]]
    two = torch.tensor([0.0, 0.0, -1e4, -1e4])[:, None, None]
    assert entropy_bytes(two, 1.0).tolist() == [[128]]


class Observer:
    """Puts logits where pieces say, and counts how often each pixel of each level came."""

    def __init__(self, model: CascadedUNet, image: NDArray[np.uint8]) -> None:
        self.expected = whole(model, image)
        self.found = [torch.full_like(logits, torch.nan) for logits in self.expected]
        self.counts = [np.zeros(logits.shape[1:], int) for logits in self.expected]
        self.merged = [0, 0, 0]

    def __call__(self, piece: LevelPiece) -> None:
        self.found[piece.level][:, piece.rows, piece.cols] = piece.logits
        self.counts[piece.level][piece.rows, piece.cols] += 1
        self.merged[piece.level] += piece.merged is not None

    def has_seen_the_whole(self) -> bool:
        pairs = zip(self.found, self.expected, strict=True)
        return all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in pairs)


def test_an_observer_is_given_every_pixel_of_every_level_once() -> None:
    model, image = telling_network(), noise(70, 330, seed=26)
    observer = Observer(model, image)
    backend = open_backend(model)

    annotation = annotate_image(backend, image, AnnotationOptions(tile=16), observe=observer)

    assert [(c.min(), c.max()) for c in observer.counts] == [(1, 1)] * 3
    assert observer.has_seen_the_whole()
    assert observer.merged[:2] == [0, 0]
    assert observer.merged[2] > 10
    assert np.array_equal(annotation.labels, observer.found[-1].argmax(0).numpy())
    assert annotation.level_labels == ()


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_model_is_left_as_it_was(backend: str) -> None:
    model = CascadedUNet(base_filters=2).train()
    model.levels[1].eval()
    modes = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]

    annotate_image(model, noise(40, 40, seed=13), AnnotationOptions(backend=backend))

    assert [m.training for m in model.modules()] == modes
    assert [name for name, _ in model.named_modules()] == names
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_a_network_in_training_is_annotated_with_its_running_statistics() -> None:
    image = noise(40, 56, seed=14)
    expected = whole(telling_network(), image)[-1].argmax(0).numpy()
    training = telling_network().arguments.build().double()
    training.load_state_dict(telling_network().state_dict())

    assert np.array_equal(annotate_image(training.train(), image).labels, expected)


def test_a_memory_mapped_read_only_image_is_read_in_place(tmp_path: Path) -> None:
    image = noise(70, 75, seed=16)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")

    labels = annotate_image(telling_network(), mapped, AnnotationOptions(tile=32)).labels

    assert np.array_equal(labels, annotate_image(telling_network(), image).labels)


def test_16_bit_images_are_stretched_over_the_whole_mosaic() -> None:
    deep = noise(64, 80, seed=17).astype(np.uint16) * 16 + 100
    shallow = to_uint8(deep)
    assert len(np.unique(shallow)) > 100

    labels = annotate_image(telling_network(), deep, AnnotationOptions(tile=32)).labels

    assert np.array_equal(labels, whole(telling_network(), shallow)[-1].argmax(0).numpy())


def test_without_normalisation_grey_levels_go_in_over_255() -> None:
    model, image = telling_network(), noise(40, 50, seed=18)
    with torch.inference_mode():
        expected = model(torch.from_numpy(image)[None, None].double() / 255)[-1][0].argmax(0).numpy()

    labels = annotate_image(model, image, intensity="none").labels

    assert np.array_equal(labels, expected)
    assert not np.array_equal(labels, annotate_image(model, image).labels)


def test_progress_adds_up_to_the_mosaic() -> None:
    done: list[float] = []
    image = noise(165, 90, seed=19)

    annotate_image(telling_network(), image, AnnotationOptions(tile=16), progress=lambda amount: done.append(amount))

    assert sum(done) == pytest.approx(165 * 90 / 1e6)
    assert len(done) > 15
    assert min(done) > 0


def test_bf16_agrees_where_no_two_classes_are_close() -> None:
    model, image = telling_network(torch.float32), noise(60, 64, seed=20)

    annotation = bf16(model, image)

    best, second = whole(model, image)[-1].topk(2, dim=0).values
    sure = ((best - second) > 0.2).numpy()
    assert sure.sum() > 100
    agree = annotation.labels == whole(model, image)[-1].argmax(0).numpy()
    assert agree[sure].mean() > 0.97
    assert annotation.precision == "bf16"


def bf16(model: CascadedUNet, image: NDArray[np.uint8]) -> Annotation:
    if has_bf16(torch.device("cpu")):
        return annotate_image(model, image, AnnotationOptions(precision="bf16", backend="torch"))
    with pytest.warns(RuntimeWarning, match="no bfloat16 arithmetic"):
        return annotate_image(model, image, AnnotationOptions(precision="bf16", backend="torch"))


@pytest.mark.parametrize("image", [np.zeros((3, 4, 1), np.uint8), np.zeros((0, 4), np.uint8)], ids=["3d", "empty"])
def test_other_shapes_are_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\)"):
        annotate_image(telling_network(), image)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8 or uint16"):
        annotate_image(telling_network(), np.zeros((3, 4), np.float32))  # type: ignore[arg-type]


def test_a_tile_below_one_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="tile is 0 px"):
        annotate_image(telling_network(), noise(8, 8, seed=21), AnnotationOptions(tile=0))


def limit(monkeypatch: pytest.MonkeyPatch, pixels: int, error: BaseException, level_width: int = 0) -> list[int]:
    """Lets strips of more px fail, as they would where memory runs out; gives the sizes of those that did not."""
    fed: list[int] = []
    feed = LevelStream.feed

    def limited(self: LevelStream, x: Tensor) -> Tensor:
        size = x.shape[2] * x.shape[3]
        if size > pixels and x.shape[3] > level_width:
            raise error
        fed.append(size)
        return feed(self, x)

    monkeypatch.setattr(LevelStream, "feed", limited)
    return fed


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_where_memory_runs_out_strips_are_halved_until_they_fit(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = telling_network(), noise(150, 260, seed=22)
    expected = annotate_image(model, image, AnnotationOptions(backend="torch"))
    assert expected.tile[-1][0] * expected.tile[-1][1] > 4 * 10_000
    fed = limit(monkeypatch, 10_000, error)
    done: list[float] = []

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = annotate_image(
            model, image, AnnotationOptions(backend="torch"), progress=lambda amount: done.append(amount)
        )

    assert np.array_equal(found.labels, expected.labels)
    assert 5_000 < max(fed) <= 10_000
    assert len(caught) >= 2
    assert all(w.category is RuntimeWarning for w in caught)
    rows, width = found.tile[-1]
    assert str(caught[-1].message) == f"memory ran out; going on in strips of {rows} × {width} px"
    assert len({str(w.message) for w in caught}) == len(caught)
    assert sum(done) == pytest.approx(150 * 260 / 1e6)
    assert min(done) > 0


def test_progress_does_not_count_twice_what_was_done_before_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = telling_network(), noise(150, 260, seed=22)
    coarse = annotate_image(model, image, AnnotationOptions(backend="torch")).tile[1][1]
    limit(monkeypatch, 10_000, MemoryError(), level_width=coarse)  # the two coarser levels are done by then
    done: list[float] = []

    with pytest.warns(RuntimeWarning, match="memory ran out; going on"):
        annotate_image(model, image, AnnotationOptions(backend="torch"), progress=lambda amount: done.append(amount))

    assert sum(done) == pytest.approx(150 * 260 / 1e6)
    assert min(done) > 0


def test_what_is_kept_by_its_position_is_right_after_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = telling_network(), noise(150, 260, seed=22)
    labels = np.random.default_rng(0).integers(0, 6, image.shape).astype(np.uint8)
    labels[labels == 5] = 255
    observer, sampler = Observer(model, image), LogitSampler(labels, 6, 2000)

    def observe(piece: LevelPiece) -> None:
        observer(piece)
        sampler.observe(piece)

    coarse = annotate_image(model, image, AnnotationOptions(backend="torch"), observe=observe).tile[1][1]
    once = sampler.sample()
    limit(monkeypatch, 10_000, MemoryError(), level_width=coarse)

    with pytest.warns(RuntimeWarning, match="memory ran out; going on"):
        annotate_image(model, image, AnnotationOptions(backend="torch"), observe=observe)

    assert observer.counts[0].min() > 2  # once the first time, and at least twice the second
    assert observer.has_seen_the_whole()
    assert len(once.truth) > 1000
    step = sampler.step
    expected = whole(model, image)[-1].numpy()[:, ::step, ::step][:, labels[::step, ::step] != 255]
    assert np.abs(once.logits - expected.T).max() < 1e-5
    assert np.abs(sampler.sample().logits - once.logits).max() < 1e-5


def test_memory_that_does_not_hold_the_smallest_strip_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 10, MemoryError("no room"))

    with (
        pytest.warns(RuntimeWarning, match="memory ran out; going on"),
        pytest.raises(InputError, match=r"memory ran out in strips of \d+ px, the smallest \(no room\)"),
    ):
        annotate_image(telling_network(), noise(150, 260, seed=22), AnnotationOptions(backend="torch"))


def test_another_error_is_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 10, RuntimeError("shapes differ"))

    with pytest.raises(RuntimeError, match="shapes differ"):
        annotate_image(telling_network(), noise(60, 70, seed=23), AnnotationOptions(backend="torch"))


def test_less_memory_makes_strips_smaller_and_keeps_priors_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = telling_network(), noise(150, 260, seed=24)
    on_disk: list[Sequence[int]] = []

    def counted(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        on_disk.append(shape)
        return tensor_on_disk(shape, dtype)

    monkeypatch.setattr(engine, "tensor_on_disk", counted)
    plenty = annotate_image(model, image, AnnotationOptions(memory=10**9))
    assert not on_disk

    little = annotate_image(model, image, AnnotationOptions(memory=10**6))

    assert np.array_equal(little.labels, plenty.labels)
    assert len(np.unique(plenty.labels)) == 6
    frames = [p.frame for p in plan(open_backend(model), image.shape)[:-1]]
    assert on_disk == [(1, 6, *frame) for frame in frames]
    assert little.tile[-1][0] < plenty.tile[-1][0]
    assert little.tile[-1][1] < plenty.tile[-1][1]


@pytest.mark.parametrize("classes", [1, 2, 6])
def test_class_ids_are_the_first_of_the_largest(classes: int) -> None:
    logits = torch.randint(0, 4, (classes, 30, 41), generator=torch.Generator().manual_seed(1)).float()

    ids = class_ids(logits[:, 3:, ::2])

    assert ids.dtype == torch.uint8
    assert torch.equal(ids, logits[:, 3:, ::2].argmax(0).to(torch.uint8))
    assert classes == 1 or len(torch.unique(ids)) == classes
