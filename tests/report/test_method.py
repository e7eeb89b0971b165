from dataclasses import replace

import numpy as np
import pytest

from rcm_cascade.report.comparison import Comparison
from rcm_cascade.report.method import all_intervals, cautions, method
from rcm_cascade.report.outcomes import Outcome
from rcm_cascade.report.results import ConfigurationResult


def said(comparison: Comparison) -> str:
    return "\n".join(cautions(comparison))


def with_rare_class(result: ConfigurationResult, patients: int) -> ConfigurationResult:
    """The same, with class 4 in the first so many patients alone."""

    def without(outcome: Outcome) -> Outcome:
        mosaics = []
        for i, mosaic in enumerate(outcome.mosaics):
            matrix = mosaic.confusion.copy()
            matrix[4] *= i < patients
            mosaics.append(replace(mosaic, confusion=matrix))
        return replace(outcome, mosaics=tuple(mosaics))

    return replace(result, outcomes=tuple(without(o) for o in result.outcomes))


def test_the_method_says_how_many_were_drawn_and_how_percentiles_are_expanded(compared: Comparison) -> None:
    text = method(compared)
    assert "percentiles of 2000 resamples, in each of which the 7 patients are drawn" in text
    assert "expanded for the number of patients" in text
    assert "In a resample that lacks a class, means are over the other classes." in text
    first = compared.reference.outcomes[0]
    few = replace(compared.reference, outcomes=(replace(first, mosaics=first.mosaics[:4]),))
    assert "no intervals, because resampling fewer than 5 patients" in method(replace(compared, reference=few))


def test_intervals_of_regions_and_levels_are_counted_too(compared: Comparison) -> None:
    # 2 configurations x (3 metrics x 7 + 3 of regions), and 3 x 3 metrics of the finer level
    assert len(all_intervals(compared)) == 2 * (3 * 7 + 3) + 3 * 3
    assert "This page holds 57 intervals" in said(compared)
    assert "about one in twenty would still leave out zero" in said(compared)
    alone = replace(compared, configurations=(compared.reference,))
    assert "This page holds 3 intervals" in said(alone)
    bare = replace(compared.reference, levels=())
    assert said(replace(compared, configurations=(bare,), reference=bare)) == ""


def test_a_class_that_resamples_lack_is_spoken_of(compared: Comparison) -> None:
    assert "resamples lack" not in said(compared)
    rare = with_rare_class(compared.reference, 2)
    assert rare.outcomes[0].holding == (7, 7, 7, 7, 2, 7)
    text = said(replace(compared, reference=rare, configurations=(rare, *compared.compared)))
    share = float(text.split(" % of the resamples lack a class, mostly nested")[0].split("\n")[-1])
    assert share == pytest.approx(100 * (5 / 7) ** 7, abs=3)
    assert np.isfinite(share)


def test_shared_seeds_are_cautioned_about_not_those_of_a_side(compared: Comparison) -> None:
    assert "3 seeds, each with itself" in said(compared)
    assert "too narrow" in said(compared)
    reference, same, worse = compared.configurations
    one = replace(same, seeds_compared=1)
    assert len(one.outcomes) == 3
    text = said(replace(compared, configurations=(reference, one, worse)))
    assert "says nothing of what another seed would change" in text


def test_a_reference_tested_on_different_mosaics_is_cautioned_about(compared: Comparison) -> None:
    odd = replace(compared.reference, remark="its jobs differ")
    assert "The reference, model.levels=3: its jobs differ." in said(replace(compared, reference=odd))
