import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.classes import ClassTable
from rcm_cascade.commands.crossval_report import describe_folds, pool_designs, write_pooled, write_table
from rcm_cascade.commands.out_of_fold import FoldRun, pool_folds
from rcm_cascade.data.folds import FoldRule
from rcm_cascade.evaluate.bootstrap import bootstrap
from rcm_cascade.evaluate.confusion import dice, macro_mean, sensitivity
from tests.commands.folding import evaluated_runs, made_folds, result

RULE = FoldRule("patients", 3, 0)


def test_one_seeds_report_pools_every_mosaic_with_intervals_over_patients(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    summary = write_pooled(tmp_path, folds, pool_folds(folds, "", evaluated_runs(folds, "", [0], 0.7)), ["a.b=1"])
    matrices = [result(folds, entry.mosaic, 0.7, 0).confusion for entry in folds.dataset.entries]
    total = np.sum(matrices, axis=0)
    assert summary == json.loads((tmp_path / "metrics.json").read_text())
    assert summary["confusion"] == total.tolist()
    assert summary["mean"]["sensitivity"] == pytest.approx(macro_mean(sensitivity(total), total))
    expected = bootstrap(matrices, [entry.patient for entry in folds.dataset.entries])
    assert summary["mean"]["dice_ci"] == list(expected.mean_dice or ())
    assert summary["patients"] == 7
    assert summary["over_seeds"]["dice"] == {"mean": summary["mean"]["dice"], "sd": None, "n": 1}
    with (tmp_path / "per_mosaic.csv").open() as file:
        assert [r["mosaic"] for r in csv.DictReader(file)] == [entry.mosaic for entry in folds.dataset.entries]
    with (tmp_path / "per_patient.csv").open() as file:
        assert [r["patient"] for r in csv.DictReader(file)] == [f"p{p}" for p in range(7)]
    page = (tmp_path / "report.html").read_text()
    for words in ("synthetic", "3 folds of patients", "a.b=1", "fold 2", "3 folds, mean ± sd"):
        assert words in page, words
    assert not list(tmp_path.glob("seed*"))


def test_several_seeds_have_a_report_each_and_their_spread(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    pooled = pool_folds(folds, "", evaluated_runs(folds, "", [0, 1, 5], 0.7))
    summary = write_pooled(tmp_path, folds, pooled, [])
    totals = [np.sum([r.confusion for r in results], axis=0) for results in pooled.seeds.values()]
    assert summary["confusion"] == sum(totals).tolist()
    means = [macro_mean(dice(total), total) for total in totals]
    assert len(set(means)) == 3
    assert [s["seed"] for s in summary["seeds"]] == [0, 1, 5]
    assert [s["mean"]["dice"] for s in summary["seeds"]] == pytest.approx(means)
    assert summary["over_seeds"]["dice"]["mean"] == pytest.approx(statistics.mean(means))
    assert summary["over_seeds"]["dice"]["sd"] == pytest.approx(statistics.stdev(means))
    for seed, total in zip((0, 1, 5), totals, strict=True):
        own = json.loads((tmp_path / f"seed{seed}" / "metrics.json").read_text())
        assert own["confusion"] == total.tolist()
        page = (tmp_path / f"seed{seed}" / "report.html").read_text()
        assert f"seed {seed}" in page
        for fold in range(3):
            path = tmp_path / f"fold{fold}-seed{seed}" / "evaluation" / "metrics.json"
            mean = json.loads(path.read_text())["mean"]
            told = [f"{key} {mean[key.lower()]:.2f}" for key in ("sensitivity", "specificity", "Dice")]
            assert f"{', '.join(told)} ({len(folds.tested(fold))} mosaics)" in page
    page = (tmp_path / "report.html").read_text()
    assert f"Dice {statistics.mean(means):.2f} ± {statistics.stdev(means):.2f}" in page
    assert "counts 3 times" in page


def test_the_page_shows_the_worst_the_middle_and_the_best_mosaic(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    write_pooled(tmp_path, folds, pool_folds(folds, "", evaluated_runs(folds, "", [3, 4], 0.7)), [])
    scores = {}
    for entry in folds.dataset.entries:
        matrix = result(folds, entry.mosaic, 0.7, 3).confusion
        scores[entry.mosaic] = macro_mean(dice(matrix), matrix)
    ranked = sorted(scores, key=lambda mosaic: scores[mosaic])
    page = (tmp_path / "report.html").read_text()
    for name, mosaic in (("Worst", ranked[0]), ("Middle", ranked[7]), ("Best", ranked[-1])):
        fold = next(k for k in range(3) if mosaic in folds.tested(k))
        assert f"{name} mosaic by mean Dice ({scores[mosaic]:.2f}): {mosaic}, tested by fold {fold}" in page
    assert page.count("mosaic by mean Dice") == 2 * 3  # alternative text and caption


def test_a_seed_with_a_failed_fold_is_not_pooled(
    classes: ClassTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = made_folds(tmp_path, classes, RULE)
    runs = [*evaluated_runs(folds, "a", [0, 1], 0.7), *evaluated_runs(folds, "b", [0], 0.7)]
    failures = {FoldRun(tmp_path, "a", 2, 1): "no space", FoldRun(tmp_path, "b", 0, 0): "no space"}
    (pooled,) = pool_designs(folds, runs, failures)
    assert (pooled.design, list(pooled.seeds)) == ("a", [0])
    said = capsys.readouterr().err
    assert "no pooled result of seed 1 of a" in said
    assert "no pooled result of seed 0 of b" in said

    write_table(folds, runs, failures)
    with (tmp_path / "crossval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert {(r["design"], r["fold"], r["seed"]) for r in rows if r["failure"]} == {("a", "2", "1"), ("b", "0", "0")}
    for row in rows:
        assert bool(row["mean_dice"]) != bool(row["failure"])
    matrix = np.sum([result(folds, m, 0.7, 1).confusion for m in folds.tested(1)], axis=0)
    (row,) = [r for r in rows if (r["design"], r["fold"], r["seed"]) == ("a", "1", "1")]
    assert float(row["mean_sensitivity"]) == pytest.approx(macro_mean(sensitivity(matrix), matrix), abs=1e-6)
    assert row["folder"] == "a-fold1-seed1"
    assert row["mosaics"] == str(len(folds.tested(1)))


def test_the_page_cautions_of_patients_on_both_sides(classes: ClassTable, tmp_path: Path) -> None:
    kept_apart = describe_folds(made_folds(tmp_path, classes, RULE), [])
    assert "caution" not in kept_apart
    facts = describe_folds(made_folds(tmp_path, classes, FoldRule("paper", 3, 0)), [])
    assert "trained on too: p0" in facts["caution"]
    assert "drawn at random, whosever they are, 3 times" in facts["folds"]


def test_by_site_the_folds_are_called_after_their_sites(classes: ClassTable, tmp_path: Path) -> None:
    folds = made_folds(tmp_path, classes, FoldRule("sites", None, 0))
    write_pooled(tmp_path, folds, pool_folds(folds, "", evaluated_runs(folds, "", [0], 0.7)), [])
    page = (tmp_path / "report.html").read_text()
    assert "fold 0, s0" in page
    assert "fold 1, s1" in page
    assert "leave one site out" in page
