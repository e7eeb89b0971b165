from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from experiments.phantom import baseline
from experiments.phantom.baseline import (
    draw_pixels,
    features,
    fit,
    hardest_pattern,
    markdown_tables,
    measure_baseline,
    predict,
    verdict,
)
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.intensity import measure
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.evaluate.confusion import confusion_matrix, sensitivity
from rcm_cascade.evaluate.results import MosaicResult
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.data import load_training_data


def mosaic(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Mosaic:
    return Mosaic("m", "p", "", image, labels, measure(image), image, labels, 8.0, "file", 8.0)


def easy_mosaic(seed: int) -> Mosaic:
    """Three classes in bands 400 µm wide: grey, dark, and as grey as the first with twice its contrast."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation([0, 1, 2] * 2).astype(np.uint8), 50)[:, np.newaxis].repeat(200, axis=1)
    level, contrast = np.array([100, 50, 100])[labels], np.array([10, 10, 20])[labels]
    image = np.clip(level + contrast * rng.normal(size=labels.shape), 0, 255).astype(np.uint8)
    labels[:, ::7] = 255
    return mosaic(image, labels)


def test_features_are_in_um_and_hardly_see_gain() -> None:
    grey = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 150)).astype(np.float32), (0, 0), 3)
    image = np.clip(100 + 6 * (grey - grey.mean()), 20, 120).astype(np.uint8)
    table = features(image, 8.0)
    assert table.shape == (120, 150, 15)
    assert table.dtype == np.float32
    assert np.isfinite(features(np.zeros((30, 30), np.uint8), 8.0)).all()
    assert (table.std(axis=(0, 1)) > 0.01).all()

    brighter = features(2 * image, 8.0)
    assert np.abs(brighter[..., 0] - table[..., 0]).mean() > 0.5
    assert np.abs(brighter[..., 1:] - table[..., 1:]).mean() < 0.03

    twice = np.asarray(cv2.resize(image, (300, 240), interpolation=cv2.INTER_LINEAR), np.uint8)
    finer = features(twice, 4.0).reshape(120, 2, 150, 2, 15).mean(axis=(1, 3))
    apart = np.abs(finer - table)[30:-30, 30:-30].mean(axis=(0, 1))
    misread = np.abs(features(image, 4.0) - table)[30:-30, 30:-30].mean(axis=(0, 1))
    assert (apart[2:] < 0.5 * misread[2:]).all()  # the first two are no neighbourhood


def test_pixels_are_drawn_of_every_class_and_never_where_nothing_is_labelled() -> None:
    labels = np.full((50, 60), 255, np.uint8)
    labels[:2], labels[10:20], labels[30] = 4, 0, 2
    drawn = draw_pixels(labels, 100, np.random.default_rng(0))
    assert len(set(drawn.tolist())) == len(drawn)
    ids, counts = np.unique(labels.reshape(-1)[drawn], return_counts=True)
    assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == {0: 100, 2: 60, 4: 100}
    np.testing.assert_array_equal(drawn, draw_pixels(labels, 100, np.random.default_rng(0)))
    assert draw_pixels(np.full((5, 5), 255, np.uint8), 100, np.random.default_rng(0)).size == 0


def test_what_grey_level_and_contrast_tell_is_learnt() -> None:
    """A baseline that cannot learn would call anything hard."""
    model = fit([easy_mosaic(0), easy_mosaic(1)], per_class=1000, iterations=10)
    unseen = easy_mosaic(2)
    assert unseen.labels is not None
    predicted = predict(model, unseen)
    assert sensitivity(confusion_matrix(predicted, unseen.labels, 3)).min() > 0.9
    np.testing.assert_array_equal(predicted == 255, unseen.labels == 255)


def summary_of(matrix: NDArray[np.int64]) -> dict[str, Any]:
    return summarise([MosaicResult("m", "p", "", 8.0, matrix)], RCM_CLASSES, synthetic=True)


def test_the_tables_and_the_verdict_say_what_the_matrix_says() -> None:
    matrix = np.diag([10, 60, 30, 80, 0, 90]).astype(np.int64)
    matrix[0, 5], matrix[1, 0], matrix[2, 3], matrix[2, 5], matrix[3, 2], matrix[5, 0] = 90, 40, 45, 25, 20, 10
    summary = summary_of(matrix)
    assert hardest_pattern(summary) == "meshwork"  # non-lesion is harder, and no pattern
    lines = markdown_tables(summary, RCM_CLASSES).splitlines()
    assert "| meshwork | .30 | .95 | .40 |" in lines
    assert "| **mean** | .54 | .89 | .52 |" in lines
    assert "| meshwork | .00 | .00 | **.30** | .45 | .00 | .25 |" in lines
    assert "| nested | – | – | – | – | **–** | – |" in lines
    assert "500 labelled pixels; 1 mosaic of 1 patient" in "\n".join(lines)
    words = verdict(summary, RCM_CLASSES)
    assert "Mean sensitivity .540: TOO EASY" in words
    assert "hardest pattern is meshwork, most often taken for ring (45 %) and patternless (25 %)" in words
    matrix[1, 0], matrix[1, 1] = 90, 10
    assert ".440: not easy" in verdict(summary_of(matrix), RCM_CLASSES)


@pytest.mark.slow
def test_phantoms_are_neither_easy_nor_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten phantoms of 3 mm; the table of experiments/phantom is made from 24 of 6 mm."""
    drawn = ["data.phantom.mosaics=10", "data.phantom.size_mm=[3,3]", "data.phantom.sites=3", "data.phantom.seed=11"]
    data = load_training_data(compose_config([f"data.root={tmp_path / 'phantoms'}", *drawn]).data)
    mosaics = [mosaic for part in ("train", "val", "test") for mosaic in data.open(part)]
    learnt_from: dict[HistGradientBoostingClassifier, set[str]] = {}

    def recording(others: Sequence[Mosaic], **options: int) -> HistGradientBoostingClassifier:
        model = fit(others, **options)
        learnt_from[model] = {m.patient for m in others}
        return model

    def checking(model: HistGradientBoostingClassifier, unseen: Mosaic) -> NDArray[np.uint8]:
        assert unseen.patient not in learnt_from[model]
        return predict(model, unseen)

    monkeypatch.setattr(baseline, "fit", recording)
    monkeypatch.setattr(baseline, "predict", checking)
    results = measure_baseline(mosaics, RCM_CLASSES, iterations=30)
    assert sorted(r.mosaic for r in results) == sorted(m.name for m in mosaics)
    assert sorted(map(len, learnt_from.values())) == [6, 7, 7]
    summary = summarise(results, RCM_CLASSES, synthetic=True)
    assert all(row["labelled_pixels"] > 500 for row in summary["classes"])
    assert 1.3 / 6 < summary["mean"]["sensitivity"] < 0.55
