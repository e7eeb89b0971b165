from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.splits import write_split
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import MosaicResult
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.report.folds import describe_folds, pool_folds
from rcm_cascade.report.outcomes import ALL, MEAN
from rcm_cascade.report.reading import read_outcome
from rcm_cascade.report.sweep import write_report
from rcm_cascade.runs.jobs import Job, read_sweep
from tests.report.factories import write_job, write_sweep
from tests.report.test_pages import Page, table

PARTS = ([0, 1, 2], [3, 4, 5], [6, 7])


def write_folds(path: Path, *, designs: Sequence[str] = ("cascade",), rule: str = "patients") -> Path:
    """A cross-validation of three folds and two seeds, as training leaves it."""
    jobs = {}
    for design in designs:
        for seed in (0, 1):
            for fold, tested in enumerate(PARTS):
                name = f"data.fold={fold},model={design},seed={seed}"
                jobs[name] = [f"model={design}", f"data.fold={fold}", f"seed={seed}"]
                data = {"fold": fold, "folds": 3, "rule": rule, "split_seed": 4}
                wrong = 0.2 if design == "cascade" else 0.5
                write_job(path / name, wrong=wrong, seed=seed, mosaics=tested, pictures=True, config={"data": data})
                split = {f"mosaics/{m}.tif": "test" if m in tested else "train" for part in PARTS for m in part}
                write_split(path / name / "split.csv", split)
    return write_sweep(path, jobs, "crossval")


def test_each_mosaic_is_pooled_as_the_fold_that_tests_it_predicted_it(tmp_path: Path) -> None:
    comparison = write_report(write_folds(tmp_path, designs=("cascade", "ensemble")))
    assert [c.label for c in comparison.configurations] == ["model=cascade", "model=ensemble"]
    assert comparison.left_out == ()
    reference, other = comparison.configurations
    assert [o.job.name for o in reference.outcomes] == ["folds,model=cascade,seed=0", "folds,model=cascade,seed=1"]
    outcome = reference.outcomes[1]
    assert outcome.names == tuple(f"mosaics/{i}.tif" for i in range(8))
    for fold, tested in enumerate(PARTS):
        single = read_outcome(read_sweep(tmp_path).jobs[3 + fold])
        np.testing.assert_array_equal(outcome.confusions[tested], single.confusions)
        ours = comparison.table[(comparison.table["fold"] == str(fold)) & (comparison.table["seed"] == 1)]
        mean = ours[(ours["class"] == MEAN) & (ours["metric"] == "dice") & (ours["configuration"] == reference.label)]
        assert mean["value"].item() == pytest.approx(single.metrics["mean"]["dice"])
    pooled = summarise(outcome.mosaics, RCM_CLASSES, draws=1)
    assert outcome.metrics["mean"] == pooled["mean"]
    number = comparison.number(other, "dice")
    assert (number.n, other.seeds_compared) == (2, 2)
    assert number.difference is not None
    assert number.differs is True
    assert comparison.number(other, "regions_per_area", ALL).difference is not None
    page = tmp_path / "report.html"
    text = Page(page).text
    assert "3 of patients (data.split_seed=4)" in text
    assert "8 test mosaics of 7 patients" in text
    assert len(table(page, "Each fold’s own test mosaics")) == 1 + 2 * 2 * 3 * len(METRICS)
    assert "The worst test mosaic" in text  # from the folder of the fold that tested it


def test_a_set_that_lacks_a_fold_is_left_out_by_name(tmp_path: Path) -> None:
    folder = write_folds(tmp_path)
    (folder / "data.fold=1,model=cascade,seed=1" / "result.json").unlink()
    comparison = write_report(folder)
    assert len(comparison.configurations[0].outcomes) == 1
    (left,) = comparison.left_out
    assert (left.job.name, left.state) == ("folds,model=cascade,seed=1", "unfinished")
    assert left.sentence.startswith("1 of 3 folds have no result (fold 1: interrupted or at work")

    jobs = {job.name: job.overrides for job in read_sweep(folder).jobs if "fold=2" not in job.name}
    write_sweep(folder, jobs)
    with pytest.raises(InputError, match=r"fold 2: not in the sweep"):
        write_report(folder)


def test_what_is_wrong_with_folds_is_said(tmp_path: Path) -> None:
    folder = write_folds(tmp_path, rule="paper")
    jobs = read_sweep(folder).jobs
    outcomes = {job.name: read_outcome(job) for job in jobs}
    _, pooled, _ = pool_folds(read_sweep(folder), outcomes, {}, RCM_CLASSES)
    facts = describe_folds(list(pooled.values()))
    assert facts["folds"] == "3 of mosaics drawn at random, whosever they are (data.split_seed=4)"
    assert "caution" not in facts  # the two mosaics of patient p6 are in one fold
    mosaics = outcomes[jobs[0].name].mosaics
    first = replace(outcomes[jobs[0].name], mosaics=(replace(mosaics[0], patient="p6"), *mosaics[1:]))

    def ringless(job: Job) -> tuple[MosaicResult, ...]:
        matrices = [m.confusion.copy() for m in outcomes[job.name].mosaics]
        for matrix in matrices:
            matrix[3] = 0
        return tuple(replace(m, confusion=c) for m, c in zip(outcomes[job.name].mosaics, matrices, strict=True))

    odd = {0: first} | {k: replace(outcomes[jobs[k].name], mosaics=ringless(jobs[k])) for k in (1, 2)}
    facts = describe_folds([replace(next(iter(pooled.values())), folds=odd)])
    assert facts["caution"] == "tested on patients who were trained on too: p6; the numbers are too good"
    assert facts["fold 0 cannot know"] == "ring: no training mosaic of it has any"
    assert describe_folds([first]) == {}


def test_counts_of_a_mosaic_that_several_folds_test_are_summed(tmp_path: Path) -> None:
    for fold, tested in enumerate(((0, 1, 2), (2, 3, 4, 5, 6, 7))):
        data = {"fold": fold, "folds": 2, "rule": "paper"}
        write_job(tmp_path / str(fold), noise=fold, mosaics=tested, pictures=True, config={"data": data})
    folder = write_sweep(tmp_path, {str(fold): ["x=1", f"data.fold={fold}"] for fold in (0, 1)})
    folds = [read_outcome(job) for job in read_sweep(folder).jobs]
    comparison = write_report(folder)
    pooled = comparison.first
    assert (pooled.count, pooled.patients, comparison.reference.tested) == (8, 7, "8 test mosaics of 7 patients")
    by_patient = pooled.by_patient(pooled.confusions)
    np.testing.assert_array_equal(by_patient[2], folds[0].confusions[2] + folds[1].confusions[0])
    assert pooled.levels is not None
    assert folds[0].levels is not None
    assert folds[1].levels is not None
    twice = folds[0].levels[2] + folds[1].levels[0]
    np.testing.assert_array_equal(pooled.by_patient(pooled.levels)[2], twice)
    assert comparison.number(comparison.reference, "dice").mean == pooled.metrics["mean"]["dice"]
