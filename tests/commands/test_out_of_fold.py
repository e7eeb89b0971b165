import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.classes import ClassTable
from rcm_cascade.commands.out_of_fold import FoldRun, pool_folds, pool_mosaics
from rcm_cascade.data.folds import FoldRule
from rcm_cascade.errors import InputError
from rcm_cascade.models.checkpoint import digest
from tests.commands.folding import evaluated_runs, made_folds, result

RULE = FoldRule("patients", 3, 0)


def test_each_mosaic_is_pooled_from_the_fold_that_tests_it(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    runs = evaluated_runs(folds, "", [4, 9], 0.7)
    pooled = pool_folds(folds, "", runs)
    assert list(pooled.seeds) == [4, 9]
    for seed, results in pooled.seeds.items():
        assert [r.mosaic for r in results] == [entry.mosaic for entry in folds.dataset.entries]
        for r in results:
            assert np.array_equal(r.confusion, result(folds, r.mosaic, 0.7, seed).confusion)
            assert r.patient == f"p{r.mosaic[1]}"


def test_over_seeds_counts_are_summed(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    pooled = pool_folds(folds, "", evaluated_runs(folds, "", [0, 1], 0.6))
    a, b = pooled.seeds.values()
    assert any(not np.array_equal(x.confusion, y.confusion) for x, y in zip(a, b, strict=True))
    for both, x, y in zip(pooled.results, a, b, strict=True):
        assert (both.mosaic, both.patient, both.site, both.pixel_size_um) == (x.mosaic, x.patient, x.site, 100.0)
        assert np.array_equal(both.confusion, x.confusion + y.confusion)
        assert both.prediction_coherence is not None
        assert x.prediction_coherence is not None
        assert y.prediction_coherence is not None
        for name in ("regions", "small_regions", "area_px", "small_area_px"):
            parts = [getattr(r.prediction_coherence, name) for r in (x, y)]
            assert parts[0].sum() > 0
            assert np.array_equal(getattr(both.prediction_coherence, name), sum(parts))
        assert both.prediction_coherence.pixel_size_um == 100.0
        assert [level.factor for level in both.levels] == [2, 1]
        for i in range(2):
            assert np.array_equal(both.levels[i].confusion, x.levels[i].confusion + y.levels[i].confusion)


def test_where_regions_or_levels_were_not_measured_alike_there_are_none(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    whole = result(folds, "m0a.tif", 0.7, 0)
    bare = replace(whole, prediction_coherence=None, levels=whole.levels[1:])
    (both,) = pool_mosaics([[whole], [bare]])
    assert both.prediction_coherence is None
    assert both.truth_coherence is not None
    assert both.levels == ()
    assert np.array_equal(both.confusion, 2 * whole.confusion)


def test_under_the_papers_rule_a_mosaic_counts_as_often_as_it_is_tested(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, FoldRule("paper", 4, 0))
    (results,) = pool_folds(folds, "", evaluated_runs(folds, "", [0], 0.7)).seeds.values()
    times = {r.mosaic: sum(r.mosaic in folds.tested(k) for k in range(4)) for r in results}
    assert max(times.values()) > 1
    assert len(times) < len(folds.dataset.entries)
    for r in results:
        assert np.array_equal(r.confusion, times[r.mosaic] * result(folds, r.mosaic, 0.7, 0).confusion)


def test_an_evaluation_of_something_else_is_refused(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    runs = evaluated_runs(folds, "", [0], 0.7)
    path = runs[1].evaluation / "confusions.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"mosaics": content["mosaics"][1:]}))
    with pytest.raises(InputError, match=r"fold1-seed0/evaluation scores other mosaics or classes than .*fold1\.csv"):
        pool_folds(folds, "", runs)
    path.write_text(json.dumps(content | {"classes": ["a", "b", "d"]}))
    with pytest.raises(InputError, match="other mosaics or classes"):
        pool_folds(folds, "", runs)


def test_folds_that_test_a_mosaic_twice_are_refused(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    twice = {m: "test" if m == folds.tested(1)[0] else part for m, part in folds.splits[0].items()}
    edited = replace(folds, splits=(twice, *folds.splits[1:]))
    with pytest.raises(InputError, match="exactly once"):
        pool_folds(edited, "", evaluated_runs(edited, "", [0], 0.7))


def test_a_run_is_evaluated_with_the_checkpoint_that_it_has(classes: ClassTable, tmp_path: Path) -> None:
    run = evaluated_runs(made_folds(tmp_path, classes, RULE), "", [0], 0.7)[0]
    assert run.is_evaluated
    run.run.best.parent.mkdir()
    run.run.best.write_bytes(b"weights")
    assert not run.is_evaluated
    path = run.evaluation / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint_sha256": digest(run.run.best)}))
    assert run.is_evaluated


def test_the_folder_of_a_run_says_design_fold_and_seed(tmp_path: Path) -> None:
    assert FoldRun(tmp_path, "", 2, 7).run.path == tmp_path / "fold2-seed7"
    assert FoldRun(tmp_path, "unet", 0, 1).run.path == tmp_path / "unet-fold0-seed1"
    assert not FoldRun(tmp_path, "unet", 0, 1).is_evaluated
