"""Several networks on one mosaic: the mean of their probabilities, each pixel of each network once."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rcm_cascade.annotate import engine
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions, open_backend
from rcm_cascade.annotate.committee import annotate_by_all
from rcm_cascade.annotate.engine import annotate_image
from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.data.intensity import measure
from rcm_cascade.errors import InputError
from rcm_cascade.models import CascadedUNet
from rcm_cascade.models.checkpoint import CheckpointHeader
from tests.annotate.telling import noise, telling_network, whole

pytestmark = pytest.mark.usefixtures("one_thread")


def networks() -> list[CascadedUNet]:
    return [telling_network(), telling_network(levels=2), telling_network(base_filters=6)]


def mean_of(models: list[CascadedUNet], image: NDArray[np.uint8], temperatures: list[float]) -> torch.Tensor:
    """Of the probabilities, by one pass each."""
    pairs = zip(models, temperatures, strict=True)
    return torch.stack([(whole(model, image)[-1] / t).softmax(dim=0) for model, t in pairs]).mean(dim=0)


def annotate(models: list[CascadedUNet], image: NDArray[np.uint8], temperatures: list[float], **how: Any) -> Any:
    members = [(open_backend(model), t) for model, t in zip(models, temperatures, strict=True)]
    return annotate_by_all(members, image, AnnotationOptions(**how), intensity=measure(image))


@pytest.mark.parametrize("memory", [None, 200_000])
def test_labels_and_entropy_are_those_of_the_mean(memory: int | None) -> None:
    models, image = networks(), noise(70, 90, seed=5)
    temperatures = [0.7, 1.0, 2.0]

    found = annotate(models, image, temperatures, tile=32, memory=memory)

    mean = mean_of(models, image, temperatures)
    two = mean.topk(2, dim=0).values
    clear = (two[0] - two[1] > 1e-5).numpy()
    assert clear.mean() > 0.99
    assert np.array_equal(found.labels[clear], mean.argmax(dim=0).numpy()[clear])
    share = (-(mean * mean.log()).sum(dim=0) / np.log(len(mean))).numpy()
    assert np.abs(found.entropy / 255 - share).max() <= 0.5 / 255 + 1e-4
    assert np.mean(found.labels != annotate_image(models[0], image).labels) > 0.05


def test_networks_that_disagree_are_in_doubt() -> None:
    models, image = networks(), noise(70, 90, seed=5)
    temperatures = [0.01] * 3  # each is sure by itself

    found = annotate(models, image, temperatures)

    own = [annotate_image(model, image, temperature=0.01) for model in models]
    agree = (own[0].labels == own[1].labels) & (own[1].labels == own[2].labels)
    assert all(each.entropy is not None and np.median(each.entropy) < 20 for each in own)
    assert np.median(found.entropy[agree]) < 20
    assert np.median(found.entropy[~agree]) > 60


def test_one_network_alone_is_itself_and_progress_is_of_all() -> None:
    model, image = networks()[0], noise(70, 90, seed=5)
    alone = annotate([model], image, [1.0])
    assert np.array_equal(alone.labels, annotate_image(model, image).labels)
    done: list[float] = []
    members = [(open_backend(each), 1.0) for each in networks()]
    annotate_by_all(members, image, AnnotationOptions(), intensity=measure(image), progress=done.append)
    assert sum(done) == pytest.approx(image.size / 1e6)


def test_what_is_given_twice_where_memory_runs_out_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    models, image = networks(), noise(300, 90, seed=5)
    pieces, given = engine.level_pieces, []

    def running_out(*arguments: Any) -> Any:
        for piece in pieces(*arguments):
            yield piece
            given.append(piece)
            if piece.merged is not None and len([p for p in given if p.merged is not None]) == 2:
                raise MemoryError

    monkeypatch.setattr(engine, "level_pieces", running_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = annotate(models, image, [1.0] * 3, memory=3_000_000)

    assert np.mean(found.labels != mean_of(models, image, [1.0] * 3).argmax(dim=0).numpy()) < 1e-3


def annotator(seed: int, **changed: Any) -> Annotator:
    network = networks()[seed]
    values: dict[str, Any] = {"classes": RCM_CLASSES, "temperature": 0.5 + seed} | changed
    header = CheckpointHeader(model=network.arguments, working_pixel_size_um=1.0, **values)
    return Annotator(network, header, Path(f"{seed}.ckpt"), f"{seed}{seed}" * 32)


def test_an_annotator_of_several_says_so() -> None:
    first, second = annotator(1), annotator(2, synthetic=True)
    together = replace(first, others=(second,))

    found = together.annotate(noise(70, 90, seed=5), pixel_size_um=1.0, entropy=True)

    assert found.checkpoint == "1.ckpt, 2.ckpt"
    assert found.checkpoint_sha256 not in ("", first.checkpoint_sha256, second.checkpoint_sha256)
    assert found.header.synthetic
    assert found.entropy is not None
    with pytest.raises(ValueError, match="of one network"):
        together.annotate_mosaic(together.open(noise(70, 90, seed=5), pixel_size_um=1.0), levels=True)


def test_networks_of_other_classes_or_grids_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ClassTable(tuple(LabelClass(i, f"c{i}", f"#0000{i}0") for i in range(6)))
    for changed, what in (({"classes": other}, "class names"), ({"normalisation": "none"}, "normalisation")):
        found = {"a": annotator(1), "b": annotator(2, **changed)}
        monkeypatch.setattr(Annotator, "load", lambda path, *_, found=found: found[path])
        with pytest.raises(InputError, match=f"b differs from a in its {what}"):
            Annotator.load_all(["a", "b"])
