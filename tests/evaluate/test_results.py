import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.coherence import Coherence, measure_coherence
from rcm_cascade.evaluate.confusion import confusion_matrix
from rcm_cascade.evaluate.results import (
    CHECKPOINT_KEY,
    COUNTS,
    LevelResult,
    MosaicResult,
    format_results,
    is_evaluation_of,
    read_results,
    score_mosaic,
)
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.models.checkpoint import digest

TWO = ClassTable((LabelClass(0, "a", "#000000"), LabelClass(1, "b", "#ffffff")))


def test_score_counts_and_can_leave_regions_out() -> None:
    truth = np.array([[0, 1, 255], [1, 1, 255]], np.uint8)
    prediction = np.array([[0, 0, 1], [1, 1, 0]], np.uint8)
    result, bare = (
        score_mosaic(
            prediction,
            truth,
            mosaic="m",
            patient="p",
            site="",
            pixel_size_um=None,
            classes=TWO,
            coherence=wanted,
            levels=[(2, 1 - prediction), (1, prediction)],
        )
        for wanted in (True, False)
    )
    np.testing.assert_array_equal(result.confusion, confusion_matrix(prediction, truth, 2))
    np.testing.assert_array_equal(result.confusion, bare.confusion)
    assert result.prediction_coherence is not None
    assert result.prediction_coherence.area_px.tolist() == [2, 2]
    assert bare.prediction_coherence is bare.truth_coherence is None
    assert [level.coherence for level in bare.levels] == [None, None]


def maps(seed: int) -> tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.uint8]]]]:
    """A truth with gaps, and maps of three levels that differ in grain."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 6, (6, 8)), np.ones((8, 8), np.int64)).astype(np.uint8)
    levels = []
    for factor in (4, 2, 1):
        coarse = rng.integers(0, 6, (48 // factor, 64 // factor))
        own = np.kron(coarse, np.ones((factor, factor), np.int64)).astype(np.uint8)
        levels.append((factor, np.where(rng.random(truth.shape) < 0.6, truth, own).astype(np.uint8)))
    truth[rng.random(truth.shape) < 0.3] = 255
    return truth, levels


def scored(seed: int, pixel_size_um: float | None = 20.0) -> MosaicResult:
    truth, levels = maps(seed)
    return score_mosaic(
        levels[-1][1],
        truth,
        mosaic=f"mosaics/é {seed}.tif",
        patient=f"p{seed}",
        site="lab",
        pixel_size_um=pixel_size_um,
        classes=RCM_CLASSES,
        levels=iter(levels),
    )


def same(a: Coherence | None, b: Coherence | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.pixel_size_um == b.pixel_size_um and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in COUNTS
    )


def test_each_levels_own_map_is_scored_as_the_final_one() -> None:
    truth, levels = maps(3)
    result = scored(3)
    assert [level.factor for level in result.levels] == [4, 2, 1]
    for level, (_, own) in zip(result.levels, levels, strict=True):
        assert np.array_equal(level.confusion, confusion_matrix(own, truth, 6))
        assert same(level.coherence, measure_coherence(own, truth != 255, 6, 20.0))
    assert len({level.confusion.trace() for level in result.levels}) == 3
    assert np.array_equal(result.levels[-1].confusion, result.confusion)


def test_confusions_json_gives_back_what_was_counted(tmp_path: Path) -> None:
    bare = MosaicResult("m", "p", "", 0.5, np.arange(36).reshape(6, 6), patient_given=False)
    results = [scored(0), scored(1, None), bare]
    path = tmp_path / "confusions.json"
    path.write_text(format_results(results, RCM_CLASSES), "utf-8")

    names, found = read_results(path)

    assert [r.patient_given for r in found] == [True, True, False]
    assert names == RCM_CLASSES.names
    for old, new in zip(results, found, strict=True):
        assert (new.mosaic, new.patient, new.site, new.pixel_size_um) == (
            old.mosaic,
            old.patient,
            old.site,
            old.pixel_size_um,
        )
        assert new.confusion.dtype == np.int64
        assert np.array_equal(new.confusion, old.confusion)
        assert same(new.prediction_coherence, old.prediction_coherence)
        assert same(new.truth_coherence, old.truth_coherence)
        for a, b in zip(old.levels, new.levels, strict=True):
            assert a.factor == b.factor
            assert np.array_equal(a.confusion, b.confusion)
            assert same(a.coherence, b.coherence)
    assert summarise(found[:2], RCM_CLASSES) == summarise(results[:2], RCM_CLASSES)
    plain = json.loads(path.read_text("utf-8"))
    assert plain["mosaics"][0]["coherence"]["truth"]["area_px"] == results[0].confusion.sum(axis=1).tolist()
    assert plain["mosaics"][2]["coherence"] == {"prediction": None, "truth": None}


def test_an_older_file_is_read(tmp_path: Path) -> None:
    plain = json.loads(format_results([scored(0)], RCM_CLASSES))
    del plain["mosaics"][0]["levels"], plain["mosaics"][0]["patient_given"]
    (tmp_path / "c.json").write_text(json.dumps(plain))
    (result,) = read_results(tmp_path / "c.json")[1]
    assert result.levels == ()
    assert result.patient_given is True


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"classes": ["a", "b"]}', '{"classes": ["a"], "mosaics": [{"mosaic": "m"}]}', "{", "\ufffd"],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json cannot be read .*evaluate` again"):
        read_results(tmp_path / "c.json")


def test_a_matrix_of_another_size_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    small = MosaicResult("m", "p", "", None, np.zeros((2, 2), np.int64))
    (tmp_path / "c.json").write_text(format_results([small], RCM_CLASSES))
    with pytest.raises(InputError, match=r"shape \(2, 2\), expected \(6, 6\)"):
        read_results(tmp_path / "c.json")
    with pytest.raises(InputError, match="does not exist"):
        read_results(tmp_path / "other.json")


def test_levels_of_a_result_are_optional() -> None:
    assert MosaicResult("m", "p", "", None, np.zeros((2, 2), np.int64)).levels == ()
    assert LevelResult(2, np.zeros((2, 2), np.int64)).coherence is None


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and the folder of its evaluation."""
    checkpoint, folder = tmp_path / "best.ckpt", tmp_path / "evaluation"
    checkpoint.write_bytes(b"weights")
    folder.mkdir()
    (folder / "confusions.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({CHECKPOINT_KEY: hashlib.sha256(b"weights").hexdigest()}))
    return checkpoint, folder


def test_a_digest_is_that_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        os.utime(path, ns=(0, len(content) + content[0]))
        assert digest(path) == hashlib.sha256(content).hexdigest()


def test_an_evaluation_is_of_the_checkpoint_whose_digest_it_records(evaluated: tuple[Path, Path]) -> None:
    checkpoint, folder = evaluated
    assert is_evaluation_of(folder, checkpoint)
    checkpoint.write_bytes(b"other weights")
    assert not is_evaluation_of(folder, checkpoint)


@pytest.mark.parametrize("content", ["{}", "[]", "{", '"x"'])
def test_one_that_records_none_is_of_no_checkpoint(evaluated: tuple[Path, Path], content: str) -> None:
    checkpoint, folder = evaluated
    (folder / "metrics.json").write_text(content)
    assert not is_evaluation_of(folder, checkpoint)


def test_both_files_must_be_there_but_a_checkpoint_that_is_gone_proves_nothing(evaluated: tuple[Path, Path]) -> None:
    checkpoint, folder = evaluated
    checkpoint.unlink()
    assert is_evaluation_of(folder, checkpoint)
    (folder / "confusions.json").unlink()
    assert not is_evaluation_of(folder, checkpoint)
